import type { Dashboard, FileProgress, FileProgressRow, WatchedTopic } from "../client/index.ts";
import { extrapolatePosition } from "../client/index.ts";
import type { Course, CourseFile } from "./api.ts";
import { PercentageBar, WatchedBar } from "./bars.tsx";
import { toClock, toPercent } from "./format.ts";
import { Loading, Notice } from "./notice.tsx";
import { PlayerBadge } from "./player-badge.tsx";
import { useNow } from "./use-now.ts";
import { useTopic } from "./use-topic.ts";

interface LearnerDetailProps {
  dashboard: Dashboard;
  course: Course;
  learnerId: string;
  onClose(): void;
}

/** One learner in one course: every lesson and file, with the parts that were watched. */
export function LearnerDetail({ dashboard, course, learnerId, onClose }: LearnerDetailProps) {
  const live = useTopic(dashboard, `course:${course.id}/user:${learnerId}`);
  return (
    <section class="card detail" aria-labelledby="detail-title">
      <div class="card-head">
        <h2 id="detail-title">{learnerId}</h2>
        <button type="button" class="quiet" onClick={onClose}>
          Close
        </button>
      </div>
      {live?.error && <Notice kind="error">{live.error.message}</Notice>}
      {live?.at == null && !live?.error && <Loading what="this learner" />}
      {live?.at != null && <Lessons course={course} live={live} />}
    </section>
  );
}

function Lessons({ course, live }: { course: Course; live: WatchedTopic }) {
  const files = new Map(live.progress.map((row) => [row.fileId, row]));
  const lessons = new Map(live.lessons.map((row) => [row.lessonId, row]));
  return (
    <ol class="lessons">
      {course.lessons.map((lesson) => {
        const percentage = lessons.get(lesson.id)?.percentage ?? 0;
        return (
          <li key={lesson.id}>
            <div class="lesson-head">
              <h3>{lesson.title}</h3>
              <PercentageBar percentage={percentage} label={`Progress in ${lesson.title}`} />
              <span class="number">{toPercent(percentage)}</span>
            </div>
            <ul>
              {lesson.files.map((file) => (
                <FileLine key={file.id} file={file} progress={files.get(file.id)} live={live} />
              ))}
            </ul>
          </li>
        );
      })}
    </ol>
  );
}

interface FileLineProps {
  file: CourseFile;
  progress: FileProgress | FileProgressRow | undefined;
  live: WatchedTopic;
}

function FileLine({ file, progress, live }: FileLineProps) {
  const now = useNow(500);
  const viewer = live.present.find((present) => present.fileId === file.id);
  const duration = progress?.duration ?? file.durationSeconds ?? null;
  const position = viewer
    ? extrapolatePosition(viewer, live.stale ? viewer.heardAtMs : now, duration)
    : progress?.version
      ? progress.position
      : undefined;
  return (
    <li class="file-line">
      <div class="file-head">
        <span>{file.title}</span>
        {progress?.completed && <span class="badge done">Completed</span>}
        {viewer && <PlayerBadge viewer={viewer} />}
        <span class="number">{toPercent(progress?.percentage ?? 0)}</span>
      </div>
      <WatchedBar
        watched={progress && "watched" in progress ? progress.watched : []}
        duration={duration}
        position={position}
      />
      <p class="muted small">
        {progress?.version
          ? `${toClock(progress.watchedSeconds)} of ${duration === null ? "?" : toClock(duration)} watched · watch time ${toClock(progress.watchTimeSeconds)}`
          : "Not watched yet"}
      </p>
    </li>
  );
}
