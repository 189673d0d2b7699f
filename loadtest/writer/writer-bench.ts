import { CatalogueCache } from "../../src/catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../../src/catalogue/catalogue-store.ts";
import { startEmbeddedPostgres } from "../../src/db/embedded/embedded-postgres.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createPool } from "../../src/db/pool.ts";
import { createLogger } from "../../src/logger.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { toPendingBeat } from "../../src/progress/pending-beat.ts";
import { byRow, ProgressWriter } from "../../src/progress/progress-writer.ts";
import { onEnd } from "../harness/cleanup.ts";
import { describeMachine } from "../harness/machine.ts";
import { makeTemporaryFolder } from "../harness/temporary-folder.ts";
import { makeCourseTree, toCourseId } from "../load/catalogue.ts";
import { openBareBatches } from "../peers/bare-batch.ts";
import { renderColumns } from "../render/terminal.ts";
import { type Cpu, CpuMeter, findBackend } from "./cpu-meter.ts";
import { explainExecute } from "./explain-batch.ts";
import { type StatementTimes, timeStatements } from "./timed-pool.ts";
import { type BenchRow, fragmentedRows, freshRows, sequentialRows } from "./writer-rows.ts";

/*
 * The ProgressWriter alone, without sockets and without the buffer, against a bare batch of the same rows: for
 * tuning the SQL. Both write in turn, batch by batch, to the same PostgreSQL.
 */

export interface WriterBenchOptions {
  users: number;
  files: number;
  batchSize: number;
  /** The longest a phase may take, both writers together. */
  seconds: number;
  /** Prints EXPLAIN ANALYZE of one batch of each phase. */
  explain: boolean;
  /** DATABASE_URL of an empty database; without it a temporary PostgreSQL is started. */
  url?: string;
}

const COURSE_ID = toCourseId(0);

interface PhaseResult {
  phase: string;
  rows: number;
  oursPerSecond: number;
  barePerSecond: number;
  ratio: number;
  oursMsPerBatch: number;
  bareMsPerBatch: number;
  /** µs a row. */
  oursCpu: Cpu;
  bareCpu: Cpu;
  statementsMs: Record<string, number>;
}

export async function runWriterBench(options: WriterBenchOptions): Promise<void> {
  const logger = createLogger({ level: "fatal" });
  const url = options.url ?? (await startPostgres());
  await migrate({ connectionString: url, logger });
  const pool = createPool({
    connectionString: url,
    max: 1,
    queryTimeoutMs: 60_000,
    applicationName: "loadtest",
    logger,
  });
  onEnd(() => pool.end());
  await createCatalogueStore({ pool }).put(COURSE_ID, makeCourseTree(0, options.files));
  const bare = await openBareBatches(url);
  onEnd(() => bare.end());

  const writerPool = createPool({
    connectionString: url,
    max: 1,
    queryTimeoutMs: 60_000,
    applicationName: "loadtest-writer",
    options: { pipeline: true },
    logger,
  });
  onEnd(() => writerPool.end());
  let explainNext = false;
  const times = timeStatements(writerPool, {
    async onQuery(client, query) {
      if (!explainNext) return;
      explainNext = false;
      console.log(await explainExecute(client, query));
    },
  });
  await writerPool.query("SELECT");
  const oursMeter = new CpuMeter(await findBackend(pool, "loadtest-writer"));
  const bareMeter = new CpuMeter(await findBackend(pool, "loadtest-bare"));
  const writer = new ProgressWriter({
    pool: writerPool,
    catalogue: new CatalogueCache({ pool }),
    metrics: createMetrics(),
    logger,
  });
  const writeOurs = async (rows: BenchRow[]) => {
    const startedAt = performance.now();
    await oursMeter.measure(async () => {
      const beats = rows
        .map((row) => toPendingBeat({ ...row, courseId: COURSE_ID, observedAtMs: startedAt }))
        .sort(byRow);
      const results = await writer.write(beats);
      const failed = results.filter((result) => result.type !== "written").length;
      if (failed > 0) throw new Error(`${failed} rows were not written`);
    });
    return performance.now() - startedAt;
  };
  const writeBare = async (rows: BenchRow[]) => {
    const startedAt = performance.now();
    await bareMeter.measure(() => bare.write(rows.map((row) => ({ ...row, courseId: COURSE_ID }))));
    return performance.now() - startedAt;
  };

  await describeMachine(pool).then(console.log);
  const results: PhaseResult[] = [];
  const measure = async (phase: string, batches: Generator<BenchRow[]>, seconds: number) => {
    // Each phase starts with the dirty pages of the last one written, and with statistics.
    await pool.query("CHECKPOINT");
    await pool.query("ANALYZE");
    if (options.explain) explainNext = true;
    times.take(1);
    const run = await runPhase({ phase, batches, seconds, writeOurs, writeBare, times });
    const result = { ...run, oursCpu: oursMeter.take(run.rows), bareCpu: bareMeter.take(run.rows) };
    results.push(result);
    console.log(
      `${phase}: ours ${result.oursPerSecond} rows/s, bare ${result.barePerSecond} rows/s, ratio ${result.ratio};`,
      `ms a batch: ${formatTimes(result)}`,
    );
  };
  await measure("fresh rows", freshRows(options), options.seconds * 4);
  await measure("sequential updates", sequentialRows(options), options.seconds);
  await measure("20 fragments: rows made", fragmentedRows(options, "made"), options.seconds * 2);
  await measure("20 fragments: updates", fragmentedRows(options, "extended"), options.seconds);

  const table = {
    title: "",
    columns: ["phase", "rows", "ours rows/s", "bare rows/s", "ours/bare", "ours ms/batch", "bare ms/batch"].concat(
      ["ours", "bare"].flatMap((whose) => [`${whose} PostgreSQL µs/row`, `${whose} process µs/row`]),
    ),
    rows: results.map((r) => [
      r.phase,
      r.rows,
      r.oursPerSecond,
      r.barePerSecond,
      r.ratio,
      r.oursMsPerBatch,
      r.bareMsPerBatch,
      ...[r.oursCpu, r.bareCpu].flatMap((cpu) => [cpu.postgres, cpu.process]),
    ]),
  };
  console.log(`\n${renderColumns(table)}\n`);
  const { rows } = await pool.query("SELECT * FROM playhead_check_course($1) LIMIT 3", [COURSE_ID]);
  console.log(
    rows.length === 0 ? "aggregates equal a recount" : `AGGREGATES DIFFER FROM A RECOUNT: ${JSON.stringify(rows)}`,
  );
}

async function startPostgres(): Promise<string> {
  const dataDir = await makeTemporaryFolder();
  const postgres = await startEmbeddedPostgres({ dataDir, logger: createLogger({ level: "fatal" }) });
  onEnd(() => postgres.stop());
  return postgres.url;
}

interface Phase {
  phase: string;
  batches: Generator<BenchRow[]>;
  seconds: number;
  writeOurs: (rows: BenchRow[]) => Promise<number>;
  writeBare: (rows: BenchRow[]) => Promise<number>;
  times: StatementTimes;
}

async function runPhase(given: Phase): Promise<Omit<PhaseResult, "oursCpu" | "bareCpu">> {
  const { phase, batches, seconds, writeOurs, writeBare, times } = given;
  const endAt = performance.now() + seconds * 1000;
  let [rows, count, oursMs, bareMs] = [0, 0, 0, 0];
  for (const batch of batches) {
    oursMs += await writeOurs(batch);
    bareMs += await writeBare(batch);
    rows += batch.length;
    count += 1;
    if (performance.now() > endAt) break;
  }
  return {
    phase,
    rows,
    oursPerSecond: Math.round((rows / oursMs) * 1000),
    barePerSecond: Math.round((rows / bareMs) * 1000),
    ratio: Number((bareMs / oursMs).toFixed(2)),
    oursMsPerBatch: oursMs / count,
    bareMsPerBatch: bareMs / count,
    statementsMs: times.take(count),
  };
}

function formatTimes({ statementsMs, oursMsPerBatch, bareMsPerBatch }: PhaseResult): string {
  const waited = Object.values(statementsMs).reduce((sum, ms) => sum + ms, 0);
  const parts = { ...statementsMs, "own JavaScript": oursMsPerBatch - waited };
  return `${Object.entries(parts)
    .map(([label, ms]) => `${label} ${ms.toFixed(1)}`)
    .join(", ")}; bare ${bareMsPerBatch.toFixed(1)}`;
}
