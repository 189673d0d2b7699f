import { createCatalogueStore } from "../../src/catalogue/catalogue-store.ts";
import { startEmbeddedPostgres } from "../../src/db/embedded/embedded-postgres.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createLogger } from "../../src/logger.ts";
import { openBareBatches } from "../contenders/bare-batches.ts";
import { makeTemporaryFolder, onEnd } from "../harness/cleanup.ts";
import { readWholeNumber } from "../harness/flags.ts";
import { runBatches } from "../harness/load.ts";
import { readProcessCpu } from "../harness/process-cpu.ts";
import type { Run, Subcommand } from "../harness/section.ts";
import { sumOf } from "../harness/statistics.ts";
import { type Column, toTable } from "../harness/table.ts";
import { type Contender, measureWindow, type Summary, summarize, type Window } from "../harness/window.ts";
import { makeCourseTree, toCourseId } from "../load/catalogue.ts";
import { withClient } from "../load/database.ts";
import { renderTable } from "../render/markdown.ts";
import { type BenchRow, extendedRows, fragmentedRows, freshRows, type Shape, sequentialRows } from "./rows.ts";
import { openServerWriter } from "./server-writer.ts";

/*
 * A tool to tune the SQL. It measures the server's writer alone, without sockets and buffer, in turn with a bare batch of the
 * same rows on the same PostgreSQL. A window is one batch.
 */

export const writer: Subcommand = {
  name: "writer",
  summary: "a tool to tune the SQL: the writer alone beside a bare batch; prints its figures, has no section",
  flags: {
    "--users N": "users that write (default 20,000)",
    "--files N": "files a user has (default 20)",
    "--seconds N": "longest a phase takes, both writers together (default 8)",
    "--explain": "EXPLAIN ANALYZE of one batch of each phase",
  },
  limitSeconds: 240,
  run: runBench,
};

const BATCH = 1000;
const COURSE_ID = toCourseId(0);

interface Phase {
  name: string;
  rows: number;
  ours: Summary;
  bare: Summary;
}

const msPerBatch = ({ perSecond }: Summary) => (1000 * BATCH) / perSecond;

const COLUMNS: Column<Phase>[] = [
  ["phase", ({ name }) => name],
  ["rows", ({ rows }) => rows],
  ["ours rows/s", ({ ours }) => Math.round(ours.perSecond)],
  ["bare rows/s", ({ bare }) => Math.round(bare.perSecond)],
  ["ours/bare", ({ ours, bare }) => ours.perSecond / bare.perSecond],
  ["ours ms/batch", ({ ours }) => msPerBatch(ours)],
  ["bare ms/batch", ({ bare }) => msPerBatch(bare)],
  ["ours PostgreSQL µs/row", ({ ours }) => ours.each.PostgreSQL ?? null],
  ["ours process µs/row", ({ ours }) => ours.each.generator ?? null],
  ["bare PostgreSQL µs/row", ({ bare }) => bare.each.PostgreSQL ?? null],
  ["bare process µs/row", ({ bare }) => bare.each.generator ?? null],
];

async function runBench({ isQuick, flags, tell }: Run): Promise<null> {
  const shape: Shape = {
    users: readWholeNumber(flags, "users", { usual: 20_000, most: 1_000_000 }),
    files: readWholeNumber(flags, "files", { usual: 20, most: 1000 }),
    batchSize: BATCH,
  };
  const seconds = readWholeNumber(flags, "seconds", { usual: isQuick ? 3 : 8, most: 20 });
  const logger = createLogger({ level: "fatal" });
  const postgres = await startEmbeddedPostgres({ dataDir: await makeTemporaryFolder(), logger });
  onEnd(() => postgres.stop());
  const { url } = postgres;
  await migrate({ connectionString: url, logger });
  const server = openServerWriter(url);
  await createCatalogueStore(server).put(COURSE_ID, makeCourseTree(0, shape.files));
  const bare = await openBareBatches(url, "own");
  const [readOurs, readBare] = [await backendOf(url, "loadtest-writer"), await backendOf(url, "loadtest-bare-own")];
  const phases: Phase[] = [];
  for (const [name, batches, share] of [
    ["fresh rows", freshRows(shape), 4],
    ["sequential updates", sequentialRows(shape), 1],
    ["20 fragments: rows made", fragmentedRows(shape), 2],
    ["20 fragments: updates", extendedRows(shape), 1],
  ] as const) {
    tell(name, phases.length / 4);
    // Each phase starts with fresh statistics, and with no dirty pages of the phase before.
    await server.pool.query("CHECKPOINT");
    await server.pool.query("ANALYZE");
    const first = flags.explain === undefined ? undefined : batches.next().value;
    if (first) console.log(await server.explain(first));
    server.takeWaits();
    const windows: { ours: Window[]; bare: Window[] } = { ours: [], bare: [] };
    const endAt = performance.now() + seconds * share * 1000;
    for (const batch of batches) {
      windows.ours.push(await writeOne(batch, readOurs, server.write));
      windows.bare.push(await writeOne(batch, readBare, bare.write));
      if (performance.now() > endAt) break;
    }
    const [ours, theirs] = [summarize(name, windows.ours), summarize(name, windows.bare)];
    phases.push({ name, rows: sumOf(windows.ours.map(({ count }) => count)), ours, bare: theirs });
    const waits = [...server.takeWaits()].map(([what, ms]) => `${what} ${(ms / windows.ours.length).toFixed(1)}`);
    console.log(`${name}: waits of a batch, ms: ${waits.join(", ")}; of ${msPerBatch(ours).toFixed(1)} in all`);
  }
  console.log(`\n${renderTable(toTable("", phases, COLUMNS))}\n`);
  const { rows } = await server.pool.query("SELECT * FROM playhead_check_course($1) LIMIT 3", [COURSE_ID]);
  console.log(rows.length === 0 ? "sums equal a recount" : `SUMS DIFFER FROM A RECOUNT: ${JSON.stringify(rows)}`);
  return null;
}

function writeOne(
  batch: BenchRow[],
  read: Contender["read"],
  write: (rows: BenchRow[]) => Promise<void>,
): Promise<Window> {
  const left = [batch];
  const load: Contender["load"] = (plan) => runBatches(plan, () => left.pop() ?? [], write);
  return measureWindow({ name: "", read, load }, { warmupSeconds: 0, seconds: Number.POSITIVE_INFINITY });
}

/** @returns a function that reads the CPU of the backend with this application name */
async function backendOf(url: string, name: string): Promise<Contender["read"]> {
  const statement = "SELECT pid FROM pg_stat_activity WHERE application_name = $1";
  const found = await withClient(url, (client) => client.query<{ pid: number }>(statement, [name]));
  return async () => ({ PostgreSQL: await readProcessCpu(found.rows[0]?.pid ?? Number.NaN) });
}
