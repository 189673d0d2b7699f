import type { StreamStatus } from "../client/index.ts";

export const STATUS_WORDS: Record<StreamStatus, string> = {
  ready: "Ready",
  live: "Live",
  reconnecting: "Reconnecting",
  ended: "Ended",
  expired: "Expired",
  revoked: "Revoked",
  disabled: "Disabled",
};

export function StreamBadge({ status }: { status: StreamStatus }) {
  return (
    <span class={`badge stream-${status}`}>
      <span class="dot" aria-hidden="true" />
      {STATUS_WORDS[status]}
    </span>
  );
}

/** Whether an encoder is connected, or may still reconnect to the same session. */
export function isOnAir({ status }: { status: StreamStatus }): boolean {
  return status === "live" || status === "reconnecting";
}
