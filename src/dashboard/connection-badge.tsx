import type { ConnectionState } from "../client/index.ts";

const WORDS: Record<ConnectionState, string> = {
  connecting: "Connecting…",
  online: "Live",
  offline: "Offline",
  expired: "Signed out",
};

export function ConnectionBadge({ state }: { state: ConnectionState }) {
  return (
    <span class={`badge connection ${state}`} role="status">
      <span class="dot" aria-hidden="true" />
      {WORDS[state]}
    </span>
  );
}
