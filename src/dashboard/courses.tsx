import { useEffect } from "preact/hooks";
import type { Dashboard } from "../client/index.ts";
import { type CourseSummary, loadCourses } from "./api.ts";
import { CourseView } from "./course-view.tsx";
import { NotLoaded } from "./notice.tsx";
import type { Session } from "./session.ts";
import { useLoad } from "./use-load.ts";
import type { Place } from "./use-place.ts";

interface CoursesProps {
  session: Session;
  dashboard: Dashboard;
  place: Place & { part: "courses" };
  onGo(place: Place): void;
}

/** The courses of the user, with one of them in full. */
export function Courses({ session, dashboard, place, onGo }: CoursesProps) {
  const [courses, retry] = useLoad(() => loadCourses(session), [session]);
  const first = courses.kind === "loaded" ? courses.value[0] : undefined;
  const courseId = place.course ?? first?.id;

  useEffect(() => {
    const chosen = courses.kind === "loaded" && courses.value.find((course) => course.id === courseId);
    document.title = chosen ? `${chosen.title} · Playhead` : "Dashboard · Playhead";
  }, [courses, courseId]);

  if (courses.kind !== "loaded") return <NotLoaded state={courses} what="your courses" onRetry={retry} />;
  if (courseId === undefined) {
    return (
      <div class="empty">
        <h1>No courses yet</h1>
        <p>
          Add one to the catalogue with <code>PUT /v1/courses/&lt;id&gt;</code>, then reload this page. All calls are
          described at <a href="docs">/docs</a>.
        </p>
      </div>
    );
  }
  return (
    <>
      {courses.value.length > 1 && (
        <CoursePicker
          courses={courses.value}
          chosen={courseId}
          onChoose={(course) => onGo({ part: "courses", course })}
        />
      )}
      <CourseView
        key={courseId}
        session={session}
        dashboard={dashboard}
        courseId={courseId}
        learnerId={place.learner}
        onChooseLearner={(learner) =>
          onGo({ part: "courses", course: courseId, ...(learner === undefined ? {} : { learner }) })
        }
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
