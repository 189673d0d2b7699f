import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { Dashboard, Stream } from "../client/index.ts";
import { toBitrate, toTime } from "./format.ts";
import { Loading, Notice } from "./notice.tsx";
import type { Session } from "./session.ts";
import { StreamActions } from "./stream-actions.tsx";
import { changeStream, type NewKey } from "./stream-api.ts";
import { StreamBadge } from "./stream-badge.tsx";
import { toExpiry, toSince } from "./stream-facts.ts";
import { StreamForm } from "./stream-form.tsx";
import { StreamHistory } from "./stream-history.tsx";
import { StreamSettings } from "./stream-settings.tsx";
import { useMinute } from "./use-now.ts";
import { useTopic } from "./use-topic.ts";

interface StreamDetailProps {
  session: Session;
  dashboard: Dashboard;
  streamId: string;
  /** The stream in the list: shown until the stream's own topic answers. */
  listed: Stream | undefined;
  /** Whether the user has just chosen the stream. Then it takes the focus. */
  takesFocus: boolean;
  onKey(newKey: NewKey): void;
  onClose(): void;
  onDeleted(): void;
}

/** One stream: its state and figures. Its owner also sees settings, actions and past broadcasts. */
export function StreamDetail({
  session,
  dashboard,
  streamId,
  listed,
  takesFocus,
  onKey,
  onClose,
  onDeleted,
}: StreamDetailProps) {
  const live = useTopic(dashboard, `stream:${streamId}`);
  const heading = useRef<HTMLHeadingElement>(null);
  const stream = live?.at == null ? listed : live.streams[0];
  const isOwn = session.user.role === "admin" || stream?.userId === session.user.id;
  useLayoutEffect(() => {
    if (takesFocus) heading.current?.focus();
  }, [takesFocus]);

  return (
    <section class="card stream-detail" aria-labelledby="stream-title">
      <div class="card-head">
        <h2 id="stream-title" ref={heading} tabIndex={-1}>
          {stream?.title ?? "Stream"}
        </h2>
        {stream && <StreamBadge status={stream.status} />}
        <button type="button" class="quiet" onClick={onClose}>
          Close
        </button>
      </div>
      {live?.error && <Notice kind="error">{live.error.message}</Notice>}
      {live?.at == null && !live?.error && !stream && <Loading what="this stream" />}
      {live?.at != null && !live.error && !stream && <p class="empty">This stream no longer exists.</p>}
      {stream && <StreamFacts stream={stream} />}
      {stream && isOwn && (
        <OwnerPart
          token={session.token}
          stream={stream}
          onKey={onKey}
          onDeleted={onDeleted}
          onSettled={() => heading.current?.focus()}
        />
      )}
    </section>
  );
}

function StreamFacts({ stream }: { stream: Stream }) {
  const nowMs = useMinute();
  const { bitrateKbps, viewers, expiresAt } = stream;
  return (
    <dl class="facts">
      <dt>Broadcast</dt>
      <dd>{toSince(stream, nowMs)}</dd>
      <dt>Bitrate</dt>
      <dd>{bitrateKbps === null ? "–" : toBitrate(bitrateKbps)}</dd>
      <dt>Viewers</dt>
      <dd>{viewers === null ? "–" : viewers.toLocaleString("en")}</dd>
      <dt>Key</dt>
      <dd>
        <code>{stream.keyPrefix}…</code>
      </dd>
      <dt>Expiry</dt>
      <dd>
        {toExpiry(stream, nowMs)}
        {expiresAt !== null && <span class="muted"> ({toTime(expiresAt, nowMs)})</span>}
      </dd>
      <dt>Owner</dt>
      <dd>{stream.userId}</dd>
    </dl>
  );
}

interface OwnerPartProps {
  token: string;
  stream: Stream;
  onKey(newKey: NewKey): void;
  onDeleted(): void;
  onSettled(): void;
}

function OwnerPart({ token, stream, onKey, onDeleted, onSettled }: OwnerPartProps) {
  const [isEditing, setEditing] = useState(false);

  function endEditing(): void {
    setEditing(false);
    onSettled();
  }

  return (
    <>
      <StreamSettings token={token} stream={stream} />
      {isEditing ? (
        <StreamForm
          stream={stream}
          submitLabel="Save"
          onSubmit={async (input) => {
            await changeStream(token, stream, input);
            endEditing();
          }}
          onCancel={endEditing}
        />
      ) : (
        <StreamActions
          token={token}
          stream={stream}
          onEdit={() => setEditing(true)}
          onKey={onKey}
          onDeleted={onDeleted}
          onSettled={onSettled}
        />
      )}
      <StreamHistory token={token} stream={stream} />
    </>
  );
}
