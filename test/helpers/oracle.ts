import { parseMultirange } from "../../src/progress/multirange.ts";
import type { Load } from "./load-players.ts";
import { covers, WINDOW_MS } from "./load-stream.ts";
import type { Query } from "./query.ts";

/*
 * Compares a database with the acks of its players: every acked beat is stored, and nothing else is.
 */

interface StoredRow {
  user_id: string;
  file_id: string;
  position_ms: number;
  watched: string;
  position_seq: number;
}

/** Lists every difference in a line; none where all promises were kept. Call it when the load has settled. */
export async function findBrokenPromises(
  load: Pick<Load, "streams">,
  query: Query,
  courseId: string,
): Promise<string[]> {
  const rows = await query<StoredRow>(
    "SELECT user_id, file_id, position_ms, watched::text, position_seq FROM user_progress WHERE course_id = $1",
    [courseId],
  );
  const stored = new Map(rows.map((row) => [`${row.user_id}/${row.file_id}`, row]));
  const problems: string[] = [];
  for (const stream of load.streams) {
    const name = `${stream.userId}/${stream.fileId}`;
    const say = (what: string) => problems.push(`${name}: ${what}`);
    const row = stored.get(name);
    stored.delete(name);
    for (const fault of stream.faults) say(fault);
    if (row === undefined) {
      if (stream.acked.length > 0) say(`${stream.acked.length} beats were acked, and there is no row`);
      continue;
    }
    const watched = parseMultirange(row.watched);
    for (const { seq, played } of stream.acked) {
      if (!covers(watched, played)) say(`beat ${seq} was acked, but ${played} is not in ${row.watched}`);
    }
    for (const range of stream.watchedAtAck) {
      if (!covers(watched, range)) say(`the last ack held ${range}, which is not in ${row.watched}`);
    }
    // Every beat that a player made is acked by now, so the last one has the stored position.
    if (row.position_ms !== stream.lastMadePositionMs) {
      say(
        `is at ${row.position_ms} (beat ${row.position_seq}), but was last seen at ${stream.lastMadePositionMs} (beat ${stream.acked.length})`,
      );
    }
    const windowToMs = stream.windowFromMs + WINDOW_MS;
    const foreign = [[row.position_ms, row.position_ms] as const, ...watched].filter(
      ([from, to]) => from < stream.windowFromMs || to >= windowToMs,
    );
    if (foreign.length > 0) say(`holds another's data: ${JSON.stringify(foreign)}`);
  }
  for (const name of stored.keys()) problems.push(`${name}: nobody sent that`);
  const wrong = await query("SELECT * FROM playhead_check_course($1)", [courseId]);
  problems.push(...wrong.map((row) => `an aggregate is wrong: ${JSON.stringify(row)}`));
  return problems;
}

/** Lists the ranges that the watch budget cut. Players claim so little that there are none. */
export function findCuts(load: Pick<Load, "streams">): string[] {
  return load.streams.flatMap(({ userId, fileId, cut }) => cut.map((range) => `${userId}/${fileId}: ${range}`));
}
