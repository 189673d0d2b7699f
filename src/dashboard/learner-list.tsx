import { memo } from "preact/compat";
import { useEffect, useMemo, useState } from "preact/hooks";
import type { CourseProgressRow, WatchedTopic } from "../client/index.ts";
import { loadLearners } from "./api.ts";
import { PercentageBar } from "./bars.tsx";
import { toAgo, toPercent } from "./format.ts";
import { Notice } from "./notice.tsx";
import type { Session } from "./session.ts";
import { useAction } from "./use-action.ts";
import { useMinute } from "./use-now.ts";

type Compare = (a: CourseProgressRow, b: CourseProgressRow) => number;

const byName: Compare = (a, b) => (a.userId < b.userId ? -1 : 1);
const byProgress: Compare = (a, b) => b.percentage - a.percentage || byName(a, b);
/** To the minute, so that rows do not change places with every heartbeat. */
const byActivity: Compare = (a, b) => toMinute(b.lastWatched) - toMinute(a.lastWatched) || byName(a, b);

const ORDERS = {
  active: { label: "Last active", compare: byActivity },
  name: { label: "Name", compare: byName },
  progress: { label: "Progress", compare: byProgress },
};
type Order = keyof typeof ORDERS;

function toMinute(iso: string | null): number {
  return iso === null ? 0 : Math.floor(Date.parse(iso) / 60_000);
}

interface LearnerListProps {
  session: Session;
  courseId: string;
  live: WatchedTopic;
  chosen: string | undefined;
  onChoose(learnerId: string): void;
}

/** All learners of the course. The topic brings those who were active last; the others are loaded page by page on demand. */
export function LearnerList({ session, courseId, live, chosen, onChoose }: LearnerListProps) {
  const [order, setOrder] = useState<Order>("active");
  const [wanted, setWanted] = useState("");
  const further = useFurtherPages(session.token, courseId, live.stale);
  const nowMs = useMinute();

  const learners = useMemo(() => {
    const newest = new Map<string, CourseProgressRow>();
    for (const row of [...further.rows, ...live.courses]) {
      if (row.version >= (newest.get(row.userId)?.version ?? 0)) newest.set(row.userId, row);
    }
    const needle = wanted.trim().toLowerCase();
    return [...newest.values()].filter((row) => row.userId.toLowerCase().includes(needle)).sort(ORDERS[order].compare);
  }, [live.courses, further.rows, order, wanted]);
  const missing =
    (live.totals?.learners ?? 0) - new Set([...further.rows, ...live.courses].map((row) => row.userId)).size;

  return (
    <section class="card learners" aria-labelledby="learners-title">
      <div class="card-head">
        <h2 id="learners-title">Learners</h2>
        <input
          type="search"
          placeholder="Find a learner"
          aria-label="Find a learner"
          value={wanted}
          onInput={(event) => setWanted(event.currentTarget.value)}
        />
        <label>
          <span class="visually-hidden">Order by</span>
          <select value={order} onChange={(event) => setOrder(event.currentTarget.value as Order)}>
            {Object.entries(ORDERS).map(([name, { label }]) => (
              <option key={name} value={name}>
                {label}
              </option>
            ))}
          </select>
        </label>
      </div>
      {learners.length === 0 && (
        <p class="empty">{wanted === "" ? "Nobody has begun this course yet." : "No learner matches."}</p>
      )}
      <ul>
        {learners.map((row) => (
          <Learner key={row.userId} row={row} isChosen={row.userId === chosen} nowMs={nowMs} onChoose={onChoose} />
        ))}
      </ul>
      {further.failure && (
        <Notice kind="error" onRetry={further.loadMore}>
          {further.failure}
        </Notice>
      )}
      {missing > 0 && !further.isLast && (
        <button type="button" class="quiet wide" disabled={further.isBusy} onClick={further.loadMore}>
          {further.isBusy ? "Loading…" : `Load more (${missing} not shown)`}
        </button>
      )}
    </section>
  );
}

interface LearnerProps {
  row: CourseProgressRow;
  isChosen: boolean;
  nowMs: number;
  onChoose(learnerId: string): void;
}

/** Rendered again only if its row changed: a course may have thousands of learners. */
const Learner = memo(
  ({ row, isChosen, nowMs, onChoose }: LearnerProps) => (
    <li>
      <button type="button" class="row" aria-pressed={isChosen} onClick={() => onChoose(row.userId)}>
        <span class="what">
          <strong>{row.userId}</strong>
          <span class="muted">
            {row.completedFiles} of {row.totalFiles} files · {toAgo(row.lastWatched, nowMs)}
          </span>
        </span>
        <PercentageBar percentage={row.percentage} label={`Progress of ${row.userId}`} />
        <span class="number">{toPercent(row.percentage)}</span>
      </button>
    </li>
  ),
  (before, after) =>
    before.row.version === after.row.version && before.isChosen === after.isChosen && before.nowMs === after.nowMs,
);

/** The learners beyond those of the topic. After a lost connection they may be old, so they are forgotten. */
function useFurtherPages(token: string, courseId: string, isStale: boolean) {
  const [rows, setRows] = useState<CourseProgressRow[]>([]);
  const [next, setNext] = useState<string | undefined>();
  const [isLast, setLast] = useState(false);
  const { isBusy, failure, run } = useAction();

  useEffect(() => {
    if (!isStale) return;
    setRows([]);
    setNext(undefined);
    setLast(false);
  }, [isStale]);

  async function load(): Promise<void> {
    const page = await loadLearners(token, courseId, next);
    setRows((before) => [...before, ...page.learners]);
    setNext(page.next);
    setLast(page.next === undefined);
  }

  return { rows, isLast, isBusy, failure, loadMore: () => void run(load) };
}
