import { memo } from "preact/compat";
import { useMemo, useState } from "preact/hooks";
import type { Stream } from "../client/index.ts";
import { isOnAir, StreamBadge } from "./stream-badge.tsx";
import { toExpiry, toFigures } from "./stream-facts.ts";
import { useMinute } from "./use-now.ts";

interface StreamListProps {
  streams: readonly Stream[];
  userId: string;
  chosen: string | undefined;
  onChoose(streamId: string): void;
}

/** All streams. Those on air come first. */
export function StreamList({ streams, userId, chosen, onChoose }: StreamListProps) {
  const [wanted, setWanted] = useState("");
  const [isOnlyOwn, setOnlyOwn] = useState(false);
  const nowMs = useMinute();

  const shown = useMemo(() => {
    const needle = wanted.trim().toLowerCase();
    const isWanted = (stream: Stream) =>
      (!isOnlyOwn || stream.userId === userId) &&
      [stream.title, stream.userId, stream.keyPrefix].some((text) => text.toLowerCase().includes(needle));
    return streams.filter(isWanted).sort(compare);
  }, [streams, wanted, isOnlyOwn, userId]);

  return (
    <section class="card stream-list" aria-labelledby="streams-title">
      <div class="card-head">
        <h2 id="streams-title">All streams</h2>
        <input
          type="search"
          placeholder="Find a stream"
          aria-label="Find a stream"
          value={wanted}
          onInput={(event) => setWanted(event.currentTarget.value)}
        />
        <label class="check">
          <input type="checkbox" checked={isOnlyOwn} onChange={(event) => setOnlyOwn(event.currentTarget.checked)} />
          Only mine
        </label>
      </div>
      {shown.length === 0 && (
        <p class="empty">{streams.length === 0 ? "There are no streams yet." : "No stream matches."}</p>
      )}
      <ul>
        {shown.map((stream) => (
          <StreamRow
            key={stream.id}
            stream={stream}
            isOwn={stream.userId === userId}
            isChosen={stream.id === chosen}
            nowMs={nowMs}
            onChoose={onChoose}
          />
        ))}
      </ul>
    </section>
  );
}

function compare(a: Stream, b: Stream): number {
  return Number(isOnAir(b)) - Number(isOnAir(a)) || a.title.localeCompare(b.title, "en") || (a.id < b.id ? -1 : 1);
}

/** The element that takes the focus when a stream is closed. */
export function toRowId(streamId: string): string {
  return `stream-${streamId}`;
}

interface StreamRowProps {
  stream: Stream;
  isOwn: boolean;
  isChosen: boolean;
  nowMs: number;
  onChoose(streamId: string): void;
}

const StreamRow = memo(
  ({ stream, isOwn, isChosen, nowMs, onChoose }: StreamRowProps) => (
    <li>
      <button
        type="button"
        class="row"
        id={toRowId(stream.id)}
        aria-pressed={isChosen}
        onClick={() => onChoose(stream.id)}
      >
        <span class="what">
          <strong>{stream.title}</strong>
          <span class="muted">
            <code>{stream.keyPrefix}…</code> · {toExpiry(stream, nowMs)}
            {!isOwn && ` · by ${stream.userId}`}
          </span>
        </span>
        <span class="figures">{toFigures(stream, nowMs).join(" · ")}</span>
        <StreamBadge status={stream.status} />
      </button>
    </li>
  ),
  (before, after) =>
    before.stream.version === after.stream.version &&
    before.isChosen === after.isChosen &&
    before.nowMs === after.nowMs &&
    before.onChoose === after.onChoose,
);
