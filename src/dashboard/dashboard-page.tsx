import { render } from "preact";
import { useState } from "preact/hooks";
import { Courses } from "./courses.tsx";
import { Notice } from "./notice.tsx";
import { PageHeader } from "./page-header.tsx";
import { loadSession, type Session, saveSession } from "./session.ts";
import { SignIn } from "./sign-in.tsx";
import { Streams } from "./streams.tsx";
import { useDashboard } from "./use-dashboard.ts";
import { usePlace } from "./use-place.ts";

function DashboardPage() {
  const [session, setSession] = useState(() => loadSession("instructor"));
  const [place, go] = usePlace();
  const { dashboard, connection } = useDashboard(session?.token ?? null);

  function keep(next: Session | null): void {
    saveSession("instructor", next);
    setSession(next);
  }

  return (
    <>
      <PageHeader
        page={place.part}
        session={session}
        connection={connection}
        onGo={(part) => go({ part })}
        onSignOut={() => keep(null)}
      />
      {session === null && (
        <SignIn
          seat="instructor"
          title="Progress, live"
          text="See who is watching a course right now, where they are, and how far every learner has come."
          demoLabel="Look at the demo course"
          onSignedIn={keep}
        />
      )}
      {session && dashboard && (
        <main>
          {connection === "expired" && (
            <Notice kind="warning">Your session has expired. Sign out and in again to get live updates.</Notice>
          )}
          {connection === "offline" && (
            <Notice kind="warning">
              The server cannot be reached. These figures may be old. They update by themselves when the connection is
              back.
            </Notice>
          )}
          {place.part === "courses" ? (
            <Courses session={session} dashboard={dashboard} place={place} onGo={go} />
          ) : (
            <Streams
              session={session}
              dashboard={dashboard}
              chosen={place.stream}
              onChoose={(stream) => go({ part: "streams", ...(stream === undefined ? {} : { stream }) })}
            />
          )}
        </main>
      )}
    </>
  );
}

const app = document.getElementById("app");
if (app) render(<DashboardPage />, app);
