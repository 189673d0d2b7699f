import type { Stream } from "../client/index.ts";
import type { StreamSession } from "../protocol/stream.ts";
import { toBitrate, toClock, toCount, toTime } from "./format.ts";
import { Notice } from "./notice.tsx";
import { useMinute } from "./use-now.ts";
import { useStreamSessions } from "./use-stream-sessions.ts";

/** The past and present broadcasts of a stream, the newest first. */
export function StreamHistory({ token, stream }: { token: string; stream: Stream }) {
  const { sessions, isLast, isBusy, failure, loadFirst, loadMore } = useStreamSessions(token, stream);
  const nowMs = useMinute();
  return (
    <section class="history" aria-labelledby="history-title">
      <h3 id="history-title">Broadcasts</h3>
      {sessions.length === 0 && isLast && <p class="muted small">None yet.</p>}
      <ol>
        {sessions.map((session) => (
          <Broadcast key={session.id} session={session} nowMs={nowMs} />
        ))}
      </ol>
      {failure && (
        <Notice kind="error" onRetry={loadFirst}>
          {failure}
        </Notice>
      )}
      {!isLast && sessions.length > 0 && (
        <button type="button" class="quiet wide" disabled={isBusy} onClick={loadMore}>
          {isBusy ? "Loading…" : "Show earlier ones"}
        </button>
      )}
    </section>
  );
}

function Broadcast({ session, nowMs }: { session: StreamSession; nowMs: number }) {
  const { startedAt, durationSeconds, peakViewers, meanBitrateKbps, connections } = session;
  const facts = [
    toReason(session),
    ...(peakViewers === null ? [] : [`at most ${toCount(peakViewers, "viewer")}`]),
    ...(meanBitrateKbps === null ? [] : [`${toBitrate(meanBitrateKbps)} on average`]),
    toCount(connections, "connection"),
  ];
  return (
    <li>
      <span class="when">
        {startedAt === null ? "Not started" : <time dateTime={startedAt}>{toTime(startedAt, nowMs)}</time>}
        {session.state === "ended" && durationSeconds !== null && (
          <span class="number">
            <span class="visually-hidden">lasted </span>
            {toClock(durationSeconds)}
          </span>
        )}
      </span>
      <span class="muted small">{facts.join(" · ")}</span>
    </li>
  );
}

/** Words for Playhead's reasons. A media server may give others, which are shown unchanged. */
const REASONS: Record<string, string> = {
  unpublished: "the encoder stopped",
  lease_lost: "no word from the media server",
  revoked: "the key was revoked",
  disabled: "the stream was disabled",
  expired: "the key expired",
  taken_over: "another encoder took over",
  already_live: "another encoder was first",
};

function toReason({ state, endReason }: StreamSession): string {
  if (state === "ended") return endReason === null ? "ended" : (REASONS[endReason] ?? endReason);
  return { reserved: "about to start", live: "on air", reconnecting: "waits for its encoder" }[state];
}
