import type { Dashboard } from "../client/index.ts";
import { type Course, type CourseFile, loadCourse } from "./api.ts";
import { toPercent } from "./format.ts";
import { LearnerDetail } from "./learner-detail.tsx";
import { LearnerList } from "./learner-list.tsx";
import { BehindNotice, Loading, Notice, NotLoaded } from "./notice.tsx";
import type { Session } from "./session.ts";
import { Tile } from "./tile.tsx";
import { useLoad } from "./use-load.ts";
import { useTopic } from "./use-topic.ts";
import { Viewers } from "./viewers.tsx";

interface CourseViewProps {
  session: Session;
  dashboard: Dashboard;
  courseId: string;
  learnerId: string | undefined;
  onChooseLearner(learnerId: string | undefined): void;
}

/** One course, live: its totals, who is watching now, and all learners. */
export function CourseView({ session, dashboard, courseId, learnerId, onChooseLearner }: CourseViewProps) {
  const [course, retry] = useLoad(() => loadCourse(session.token, courseId), [session.token, courseId]);
  const live = useTopic(dashboard, `course:${courseId}`);

  if (course.kind !== "loaded") return <NotLoaded state={course} what="the course" onRetry={retry} />;
  if (live?.error && live.at === null) return <Notice kind="error">{live.error.message}</Notice>;
  if (live?.at == null) return <Loading what="the course" />;

  const { totals } = live;
  return (
    <div class={live.stale ? "course stale" : "course"}>
      <h1>{course.value.title}</h1>
      <BehindNotice live={live} />
      <dl class="tiles">
        <Tile name="Watching now" value={String(live.viewers)} isLive={live.viewers > 0 && !live.stale} />
        <Tile name="Learners" value={String(totals?.learners ?? live.courses.length)} />
        <Tile name="Completed" value={String(totals?.completed ?? 0)} />
        <Tile name="Average progress" value={toPercent(totals?.percentage ?? 0)} />
      </dl>
      <div class={learnerId === undefined ? "columns" : "columns with-detail"}>
        <LearnerList session={session} courseId={courseId} live={live} chosen={learnerId} onChoose={onChooseLearner} />
        <aside>
          {learnerId !== undefined && (
            <LearnerDetail
              key={learnerId}
              dashboard={dashboard}
              course={course.value}
              learnerId={learnerId}
              onClose={() => onChooseLearner(undefined)}
            />
          )}
          <Viewers live={live} files={toFiles(course.value)} onChoose={onChooseLearner} />
        </aside>
      </div>
    </div>
  );
}

function toFiles(course: Course): Map<string, CourseFile> {
  return new Map(course.lessons.flatMap((lesson) => lesson.files.map((file) => [file.id, file])));
}
