import type { PlayerState, PresentView } from "../client/index.ts";

const WORDS: Record<PlayerState, string> = { playing: "Playing", seeking: "Seeking", paused: "Paused", ended: "Ended" };

/** What a viewer's player does now, with its speed if that is unusual. */
export function PlayerBadge({ viewer: { state, rate } }: { viewer: PresentView }) {
  return (
    <span class={`badge ${state}`}>
      <span class="dot" aria-hidden="true" />
      {WORDS[state]}
      {state === "playing" && rate !== 1 && rate > 0 && ` ${rate}×`}
    </span>
  );
}
