import type { FileProgressRow } from "../client/index.ts";
import type { Course } from "./api.ts";
import { PercentageBar } from "./bars.tsx";
import { toClock, toPercent } from "./format.ts";

interface FileListProps {
  course: Course;
  chosen: string;
  progress: Map<string, Pick<FileProgressRow, "percentage" | "completed">>;
  onChoose(fileId: string): void;
}

/** The files of a course, each with its progress; a click chooses one. */
export function FileList({ course, chosen, progress, onChoose }: FileListProps) {
  return (
    <section class="card" aria-labelledby="files-title">
      <h2 id="files-title">{course.title}</h2>
      <ol class="lessons">
        {course.lessons.map((lesson) => (
          <li key={lesson.id}>
            <h3>{lesson.title}</h3>
            <ul>
              {lesson.files.map((file) => {
                const { percentage = 0, completed = false } = progress.get(file.id) ?? {};
                return (
                  <li key={file.id}>
                    <button
                      type="button"
                      class="row"
                      aria-current={file.id === chosen ? "true" : undefined}
                      onClick={() => onChoose(file.id)}
                    >
                      <span class="what">
                        <strong>{file.title}</strong>
                        <span class="muted">
                          {file.durationSeconds != null && toClock(file.durationSeconds)}
                          {completed && " · completed"}
                        </span>
                      </span>
                      <PercentageBar percentage={percentage} label={`Progress in ${file.title}`} />
                      <span class="number">{toPercent(percentage)}</span>
                    </button>
                  </li>
                );
              })}
            </ul>
          </li>
        ))}
      </ol>
      <p class="muted small">
        <a href="./" target="_blank" rel="noopener">
          Open the dashboard
        </a>{" "}
        in another window to see your progress there.
      </p>
    </section>
  );
}
