import { extrapolatePosition, type PresentView, type WatchedTopic } from "../client/index.ts";
import type { CourseFile } from "./api.ts";
import { toClock, toInitials } from "./format.ts";
import { PlayerBadge } from "./player-badge.tsx";
import { useNow } from "./use-now.ts";

/** More viewers than a user reads at once. The tile above the list shows their number. */
const MAX_SHOWN = 50;

interface ViewersProps {
  live: WatchedTopic;
  files: Map<string, CourseFile>;
  onChoose(learnerId: string): void;
}

/** Who is watching now, and at which position. */
export function Viewers({ live, files, onChoose }: ViewersProps) {
  const now = useNow(500);
  const present = live.present.toSorted((a, b) => (a.userId + a.fileId < b.userId + b.fileId ? -1 : 1));
  return (
    <section class="card" aria-labelledby="viewers-title">
      <h2 id="viewers-title">Watching now</h2>
      {present.length === 0 && (
        <p class="empty">
          Nobody at the moment. Open <a href="watch">the demo player</a> in another window and press play.
        </p>
      )}
      <ul class="viewers">
        {present.slice(0, MAX_SHOWN).map((viewer) => (
          <Viewer
            key={`${viewer.userId}\u0000${viewer.fileId}`}
            viewer={viewer}
            file={files.get(viewer.fileId)}
            now={live.stale ? viewer.heardAtMs : now}
            onChoose={onChoose}
          />
        ))}
      </ul>
      {present.length > MAX_SHOWN && <p class="muted">and {present.length - MAX_SHOWN} more</p>}
    </section>
  );
}

interface ViewerProps {
  viewer: PresentView;
  file: CourseFile | undefined;
  now: number;
  onChoose(learnerId: string): void;
}

function Viewer({ viewer, file, now, onChoose }: ViewerProps) {
  const duration = file?.durationSeconds ?? null;
  const position = extrapolatePosition(viewer, now, duration);
  return (
    <li>
      <button type="button" class="row" onClick={() => onChoose(viewer.userId)}>
        <span class="avatar" aria-hidden="true">
          {toInitials(viewer.userId)}
        </span>
        <span class="what">
          <strong>{viewer.userId}</strong>
          <span class="muted">{file?.title ?? viewer.fileId}</span>
        </span>
        <span class="where">
          <span class="time">
            {toClock(position)}
            {duration !== null && <span class="muted"> / {toClock(duration)}</span>}
          </span>
          <PlayerBadge viewer={viewer} />
        </span>
      </button>
    </li>
  );
}
