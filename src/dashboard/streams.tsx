import type { Ref } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import type { Dashboard } from "../client/index.ts";
import { KeyCard } from "./key-card.tsx";
import { BehindNotice, Loading, Notice } from "./notice.tsx";
import type { Session } from "./session.ts";
import { createStream, type NewKey } from "./stream-api.ts";
import { StreamDetail } from "./stream-detail.tsx";
import { StreamForm } from "./stream-form.tsx";
import { StreamList, toRowId } from "./stream-list.tsx";
import { Tile } from "./tile.tsx";
import { useStatusNews } from "./use-status-news.ts";
import { useStreams } from "./use-streams.ts";

interface StreamsProps {
  session: Session;
  dashboard: Dashboard;
  chosen: string | undefined;
  onChoose(streamId: string | undefined): void;
}

/** All streams, live, and the forms by which owners manage theirs. */
export function Streams({ session, dashboard, chosen, onChoose }: StreamsProps) {
  const { live, failure, retry } = useStreams(dashboard, session);
  const [newKey, setNewKey] = useState<NewKey | null>(null);
  const [isChosenHere, setChosenHere] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  const news = useStatusNews(live?.at == null ? undefined : live.streams);

  useEffect(() => {
    document.title = "Streams · Playhead";
  }, []);

  const choose = useCallback(
    (streamId: string) => {
      setChosenHere(true);
      onChoose(streamId);
    },
    [onChoose],
  );

  function close(): void {
    onChoose(undefined);
    if (chosen !== undefined) document.getElementById(toRowId(chosen))?.focus();
  }

  /** The stream's row disappears too, so the heading takes the focus. */
  function onDeleted(): void {
    onChoose(undefined);
    heading.current?.focus();
  }

  function closeKey(): void {
    setNewKey(null);
    heading.current?.focus();
  }

  if (live?.error && live.at === null) return <Notice kind="error">{live.error.message}</Notice>;
  if (live?.at == null) return <Loading what="the streams" />;

  const { streams } = live;
  const onAir = streams.filter(({ status }) => status === "live");
  const waiting = streams.filter(({ status }) => status === "reconnecting");
  const viewers = onAir.reduce((sum, stream) => sum + (stream.viewers ?? 0), 0);
  return (
    <div class={live.stale ? "streams stale" : "streams"}>
      <NewStream session={session} heading={heading} onKey={setNewKey} />
      <BehindNotice live={live} />
      <p class="visually-hidden" role="status">
        {news}
      </p>
      {newKey && <KeyCard key={newKey.streamKey} newKey={newKey} onClose={closeKey} />}
      {failure && (
        <Notice kind="error" onRetry={retry}>
          {failure}
        </Notice>
      )}
      <dl class="tiles">
        <Tile name="Live now" value={String(onAir.length)} isLive={onAir.length > 0 && !live.stale} />
        <Tile name="Reconnecting" value={String(waiting.length)} />
        <Tile name="Viewers" value={viewers.toLocaleString("en")} />
      </dl>
      <div class={chosen === undefined ? "columns alone" : "columns with-detail"}>
        <StreamList streams={streams} userId={session.user.id} chosen={chosen} onChoose={choose} />
        {chosen !== undefined && (
          <aside>
            <StreamDetail
              key={chosen}
              session={session}
              dashboard={dashboard}
              streamId={chosen}
              listed={streams.find(({ id }) => id === chosen)}
              takesFocus={isChosenHere}
              onKey={setNewKey}
              onClose={close}
              onDeleted={onDeleted}
            />
          </aside>
        )}
      </div>
    </div>
  );
}

interface NewStreamProps {
  session: Session;
  heading: Ref<HTMLHeadingElement>;
  onKey(newKey: NewKey): void;
}

/** The heading, with the form for a new stream. Everybody sees it: the server decides who may have streams. */
function NewStream({ session, heading, onKey }: NewStreamProps) {
  const [isMaking, setMaking] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  return (
    <>
      <div class="part-head">
        <h1 ref={heading} tabIndex={-1}>
          Streams
        </h1>
        <button
          type="button"
          class="primary"
          ref={opener}
          aria-expanded={isMaking}
          onClick={() => setMaking(!isMaking)}
        >
          New stream
        </button>
      </div>
      {isMaking && (
        <section class="card" aria-label="New stream">
          <StreamForm
            submitLabel="Create stream"
            onSubmit={async (input) => {
              onKey(await createStream(session.token, input));
              setMaking(false);
            }}
            onCancel={() => {
              setMaking(false);
              opener.current?.focus();
            }}
          />
        </section>
      )}
    </>
  );
}
