import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type CourseSummary, loadCourses } from "./api.ts";
import { CourseView } from "./course-view.tsx";
import { Loading, Notice } from "./notice.tsx";
import { PageHeader } from "./page-header.tsx";
import { loadSession, type Session, saveSession } from "./session.ts";
import { SignIn } from "./sign-in.tsx";
import { useDashboard } from "./use-dashboard.ts";
import { useLoad } from "./use-load.ts";
import { usePlace } from "./use-place.ts";

function DashboardPage() {
  const [session, setSession] = useState(() => loadSession("instructor"));
  const { dashboard, connection } = useDashboard(session?.token ?? null);

  function keep(next: Session | null): void {
    saveSession("instructor", next);
    setSession(next);
  }

  return (
    <>
      <PageHeader page="dashboard" session={session} connection={connection} onSignOut={() => keep(null)} />
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
            <Notice kind="warning">Your session has ended. Sign out and in again to see what is new.</Notice>
          )}
          {connection === "offline" && (
            <Notice kind="warning">
              The server cannot be reached. What you see may be behind; it catches up by itself once the connection is
              back.
            </Notice>
          )}
          <Courses session={session} dashboard={dashboard} />
        </main>
      )}
    </>
  );
}

function Courses({
  session,
  dashboard,
}: {
  session: Session;
  dashboard: Parameters<typeof CourseView>[0]["dashboard"];
}) {
  const [courses, retry] = useLoad(() => loadCourses(session), [session]);
  const [place, go] = usePlace();
  const first = courses.kind === "loaded" ? courses.value[0] : undefined;
  const courseId = place.course ?? first?.id;

  useEffect(() => {
    const chosen = courses.kind === "loaded" && courses.value.find((course) => course.id === courseId);
    document.title = chosen ? `${chosen.title} · Playhead` : "Dashboard · Playhead";
  }, [courses, courseId]);

  if (courses.kind === "loading") return <Loading what="your courses" />;
  if (courses.kind === "failed") {
    return (
      <Notice kind="error" onRetry={retry}>
        {courses.message}
      </Notice>
    );
  }
  if (courseId === undefined) {
    return (
      <div class="empty">
        <h1>No courses yet</h1>
        <p>
          Put one into the catalogue with <code>PUT /v1/courses/&lt;id&gt;</code>; it appears here when you reload. The
          calls are described under <a href="/docs">/docs</a>.
        </p>
      </div>
    );
  }
  return (
    <>
      {courses.value.length > 1 && (
        <CoursePicker courses={courses.value} chosen={courseId} onChoose={(course) => go({ course })} />
      )}
      <CourseView
        key={courseId}
        session={session}
        dashboard={dashboard}
        courseId={courseId}
        learnerId={place.learner}
        onChooseLearner={(learner) => go(learner === undefined ? { course: courseId } : { course: courseId, learner })}
      />
    </>
  );
}

interface CoursePickerProps {
  courses: CourseSummary[];
  chosen: string;
  onChoose(courseId: string): void;
}

function CoursePicker({ courses, chosen, onChoose }: CoursePickerProps) {
  return (
    <label class="course-picker">
      Course
      <select value={chosen} onChange={(event) => onChoose(event.currentTarget.value)}>
        {courses.map((course) => (
          <option key={course.id} value={course.id}>
            {course.title}
          </option>
        ))}
      </select>
    </label>
  );
}

const app = document.getElementById("app");
if (app) render(<DashboardPage />, app);
