import { render } from "preact";
import { useState } from "preact/hooks";
import type { ConnectionState, Dashboard, FileProgress, FileProgressRow } from "../client/index.ts";
import { type Course, loadCourse } from "./api.ts";
import { FileList } from "./file-list.tsx";
import { Notice, NotLoaded } from "./notice.tsx";
import { PageHeader } from "./page-header.tsx";
import { loadSession, type Session, saveSession } from "./session.ts";
import { SignIn } from "./sign-in.tsx";
import { useDashboard } from "./use-dashboard.ts";
import { useLoad } from "./use-load.ts";
import { useTopic } from "./use-topic.ts";
import { WatchPlayer } from "./watch-player.tsx";

const DEMO_COURSE = "demo";
const LAST_FILE_KEY = "playhead:last-file";

function WatchPage() {
  const [session, setSession] = useState(() => loadSession("learner"));
  const { dashboard } = useDashboard(session?.token ?? null);
  const [connection, setConnection] = useState<ConnectionState | null>(null);

  function keep(next: Session | null): void {
    saveSession("learner", next);
    setSession(next);
    setConnection(null);
  }

  return (
    <>
      <PageHeader page="watch" session={session} connection={session && connection} onSignOut={() => keep(null)} />
      {session === null && (
        <SignIn
          seat="learner"
          title="Watch a clip"
          text="While the clip plays, this page reports what you watch. Leave at any time: you resume where you left off."
          demoLabel="Watch as a demo learner"
          onSignedIn={keep}
        />
      )}
      {session && dashboard && (
        <main>
          {connection === "expired" && (
            <Notice kind="warning">
              Your session has expired. Sign out and in again. This page keeps what you watched meanwhile.
            </Notice>
          )}
          {connection === "offline" && (
            <Notice kind="warning">
              The server cannot be reached. You can watch on: this page keeps what you watch, and saves it when the
              connection is back.
            </Notice>
          )}
          <DemoCourse session={session} dashboard={dashboard} onConnection={setConnection} />
        </main>
      )}
    </>
  );
}

interface DemoCourseProps {
  session: Session;
  dashboard: Dashboard;
  onConnection(state: ConnectionState): void;
}

function DemoCourse({ session, dashboard, onConnection }: DemoCourseProps) {
  const [course, retry] = useLoad(() => loadCourse(session.token, DEMO_COURSE), [session.token]);
  const own = useTopic(dashboard, `user:${session.user.id}`);
  const [chosen, setChosen] = useState(() => sessionStorage.getItem(LAST_FILE_KEY));
  const [latest, setLatest] = useState<FileProgress | null>(null);

  if (course.kind !== "loaded") return <NotLoaded state={course} what="the course" onRetry={retry} />;
  const files = course.value.lessons.flatMap((lesson) => lesson.files);
  const file = files.find(({ id }) => id === chosen) ?? files[0];
  if (!file) return <p class="empty">The demo course has no files.</p>;

  function choose(fileId: string): void {
    sessionStorage.setItem(LAST_FILE_KEY, fileId);
    setChosen(fileId);
  }

  return (
    <div class="columns watch">
      <WatchPlayer key={file.id} token={session.token} file={file} onConnection={onConnection} onProgress={setLatest} />
      <FileList
        course={course.value}
        chosen={file.id}
        progress={toNewest(course.value, [...(own?.progress ?? []), ...(latest ? [latest] : [])])}
        onChoose={choose}
      />
    </div>
  );
}

/** The newest row of each file of the course. The player's rows come sooner than those of the topic. */
function toNewest(
  course: Course,
  rows: (FileProgress | FileProgressRow)[],
): Map<string, FileProgress | FileProgressRow> {
  const newest = new Map<string, FileProgress | FileProgressRow>();
  for (const row of rows) {
    if (row.courseId === course.id && row.version >= (newest.get(row.fileId)?.version ?? 0))
      newest.set(row.fileId, row);
  }
  return newest;
}

const app = document.getElementById("app");
if (app) render(<WatchPage />, app);
