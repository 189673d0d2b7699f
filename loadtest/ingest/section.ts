import { availableParallelism } from "node:os";
import type { Section } from "../harness/section.ts";
import { toAims } from "./aims.ts";
import { NAMES } from "./contenders.ts";
import { type Figures, standingOf } from "./figures.ts";
import { PARTS } from "./options.ts";
import { toPlots } from "./plots.ts";
import { toTables } from "./tables.ts";

/** What was measured, in the form that is reported. */
export function toSection(figures: Figures, isQuick: boolean): Section {
  return {
    command: "ingest",
    title: "Ingest: durable heartbeats",
    about: toAbout(figures),
    takenAt: new Date().toISOString(),
    foreignCores: toForeignCores(figures),
    ...(figures.options.parts.size < PARTS.length ? { isPartial: true } : {}),
    tables: toTables(figures),
    plots: toPlots(figures),
    aims: toAims(figures),
    notes: toNotes(figures, isQuick),
  };
}

function toAbout({ options }: Figures): string {
  const { connections, shape, seconds, rounds, stepSeconds } = options;
  return [
    `${connections.toLocaleString("en-US")} players over raw WebSockets, each a user of its own, in ${shape.courses} courses of ${shape.files} files. A heartbeat is acked after COMMIT; it plays 100 ms more, so that the union of what was watched changes every time. Server, PostgreSQL, players and peers share ${availableParallelism()} cores.`,
    `**Closed loop**: every player sends its next heartbeat at the ack of the last; all contenders in turn, ${rounds === 1 ? "one round" : `${rounds} rounds`} of ${seconds} s, medians, on one PostgreSQL with one set of settings. **Offered load**: heartbeats are due at even intervals whatever the acks do, and latency counts from when one was *due*, so a stall counts with all that it held up. Steps of ${stepSeconds} s; the last is the first that it does not keep up with: acked within the window less than 97 % of what was offered, or the median wait of the window's last third more than 1.5 times and 50 ms above that of its first.`,
    "(a) is one HTTP POST and one upsert a heartbeat, with row triggers that recount lesson and course. (b) is Socket.IO on Node's HTTP server with `ws`, bufferutil and `@socket.io/redis-adapter`: one upsert of the position an event, from a pool of prepared statements, into a table without triggers, then the ack, then an emit to the course's room (and, in a row of its own, without it). (d) are limits, not designs: a `pg` client that writes the same rows in batches of 1,000 to a table without triggers; COPY of them into a table without keys; a bare uWebSockets.js that parses the same frames and answers as many bytes.",
  ].join("\n\n");
}

function toForeignCores({ standings }: Figures): number | null {
  const known = standings.flatMap(({ foreign }) => foreign ?? []);
  const seconds = known.reduce((sum, one) => sum + one.seconds, 0);
  return seconds === 0 ? null : known.reduce((sum, one) => sum + one.coreSeconds, 0) / seconds;
}

function toNotes(figures: Figures, isQuick: boolean): string[] {
  const { options, standings, cost, ladders, watched, sockets, after } = figures;
  const notes: string[] = [];
  if (isQuick) notes.push("A quick look: one round, short windows, fewer players. Its figures are rough.");
  if (options.writers !== undefined) notes.push(`WRITERS=${options.writers}.`);
  if (options.nodeFlags.length > 0) notes.push(`The server's Node was started with ${options.nodeFlags.join(" ")}.`);
  if (standings.length > 0 && standingOf(figures, NAMES.upsert) === undefined) {
    notes.push("(b) was left out: it needs Redis, and redis-server is missing (apt-get install -y redis-server).");
  }
  if (cost !== null) {
    const perHeartbeat = (cost.rows / cost.heartbeats).toFixed(2);
    notes.push(
      `By closed loop Playhead wrote ${perHeartbeat} rows a heartbeat, ${Math.round(cost.rows / cost.batches)} a batch.`,
    );
  }
  const refusals = [
    ...standings.map(({ name, refused }) => ({ name, refused })),
    ...ladders.flatMap(({ workers, steps }) =>
      steps.map(({ refused }) => ({ name: `offered load, WORKERS=${workers}`, refused })),
    ),
    ...[watched.half, watched.fast].flatMap((one) => (one === null ? [] : [{ name: "with a dashboard", ...one }])),
    ...(sockets === null ? [] : [sockets.playhead, sockets.bare]),
  ].filter(({ refused }) => Object.keys(refused).length > 0);
  notes.push(
    refusals.length === 0
      ? "Nobody refused a heartbeat."
      : `Refused: ${refusals.map(({ name, refused }) => `${name}: ${list(refused)}`).join("; ")}.`,
  );
  for (const { server, deadlocks, wrongAggregates, budgetCutMs } of after) {
    notes.push(
      `After the load (${server}): ${deadlocks} deadlocks, ${wrongAggregates} sums that differ from a recount, ${Math.round(budgetCutMs / 1000)} s of claims cut by the budget of watching.`,
    );
  }
  return notes;
}

function list(counts: Record<string, number>): string {
  return Object.entries(counts)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ");
}
