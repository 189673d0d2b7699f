import { randomUUID } from "node:crypto";
import type { Command } from "commander";
import pg from "pg";
import { CAN_WRITE } from "../db/can-write.ts";
import { assertServerVersion } from "../db/migrate.ts";
import { createPool, type Pool, write } from "../db/pool.ts";
import { readSchemaFiles } from "../db/schema-files.ts";
import { findPending } from "../db/schema-state.ts";
import { isRowLocked } from "../db/sqlstate.ts";
import { endsWithin } from "../within-time.ts";
import { type CommandDatabase, withCommandDatabase } from "./command-database.ts";
import type { CommandParts, Setting } from "./command-parts.ts";
import { explainFailure } from "./explain-failure.ts";

/*
 * Checks whether an installation has what it needs, and prints one line a check. It changes nothing unless it is asked to
 * repair; then it changes only aggregates that differ from a recount, course by course.
 */

const LISTEN_TIMEOUT_MS = 5000;
const SHOWN_PROBLEMS = 10;
const COURSES_A_PAGE = 500;
const HOW_TO_MIGRATE = "Run `playhead migrate`, or start the server";

/** Adds `doctor`. */
export function addDoctorCommand(program: Command, { readSetting, print }: CommandParts): void {
  program
    .command("doctor")
    .description("check configuration, database, standby, migrations, listening, and that aggregates equal a recount")
    .option("--repair", "correct the aggregates that differ from the recount", false)
    .action(async ({ repair }: { repair: boolean }) => {
      const setting = readSetting();
      print("ok  configuration: every variable is valid");
      const isHealthy = await withCommandDatabase(setting, (database) =>
        runChecks(setting, { database, repair, print }),
      );
      process.exitCode = isHealthy ? 0 : 1;
    });
}

interface CheckOptions {
  database: CommandDatabase;
  repair: boolean;
  print: (line: string) => void;
}

/** A check's result: `ok` is null if the check could not be made. */
type Finding = { ok: boolean | null; text: string };

/** Makes all checks, also after one has failed, and tells whether all are ok. */
async function runChecks({ logger }: Setting, { database, repair, print }: CheckOptions): Promise<boolean> {
  const pool = createPool({
    connectionString: database.url,
    max: 2,
    // The recount of a large course may take long.
    queryTimeoutMs: 0,
    applicationName: "playhead-doctor",
    logger,
  });
  let healthy = true;
  const check = async (name: string, look: () => Promise<Finding>): Promise<boolean> => {
    const finding = await look().catch((error: unknown) => ({ ok: false, text: explainFailure(error) }));
    healthy &&= finding.ok === true;
    print(`${finding.ok === null ? "skipped" : finding.ok ? "ok" : "wrong"}  ${name}: ${finding.text}`);
    return finding.ok === true;
  };
  try {
    await check("database", () => checkVersion(pool));
    await check("writing", () => checkWriting(pool));
    await check("standby", () => checkStandby(pool));
    const migrated =
      (await check("migrations", () => checkMigrations(pool))) &&
      (await check("functions", () => checkFunctions(pool)));
    await check("listening", () => checkListening(pool, database.directUrl));
    await check("aggregates", async () =>
      migrated ? await checkAggregates(pool, repair) : { ok: null, text: "needs the migrations" },
    );
  } finally {
    await pool.end();
  }
  return healthy;
}

async function checkVersion(pool: Pool): Promise<Finding> {
  return { ok: true, text: `PostgreSQL ${await assertServerVersion(pool)}` };
}

async function checkWriting(pool: Pool): Promise<Finding> {
  const { rows } = await pool.query<{ can: boolean; standby: boolean }>(
    `select ${CAN_WRITE} as can, pg_is_in_recovery() as standby`,
  );
  const { can, standby } = rows[0] as { can: boolean; standby: boolean };
  if (can) return { ok: true, text: "the database takes writes" };
  return {
    ok: false,
    text: standby
      ? "DATABASE_URL leads to a standby; it has to lead to the primary"
      : "the database is read-only (default_transaction_read_only); providers set that when the disk is full",
  };
}

interface StandbyRow {
  names: string;
  connected: number;
  waiting: number;
  /** Whether this role may see which standbys are connected. */
  sees: boolean;
}

/** Without its synchronous standby PostgreSQL acks no commit: heartbeats wait, and are refused. */
async function checkStandby(pool: Pool): Promise<Finding> {
  const { rows } = await pool.query<StandbyRow>(
    `select current_setting('synchronous_standby_names') as names,
       (select count(*)::int from pg_stat_replication where sync_state in ('sync', 'quorum')) as connected,
       (select count(*)::int from pg_stat_activity
        where wait_event = 'SyncRep' and state_change < clock_timestamp() - interval '2 seconds') as waiting,
       pg_has_role(current_user, 'pg_read_all_stats', 'usage') as sees`,
  );
  const { names, connected, waiting, sees } = rows[0] as StandbyRow;
  if (names === "") return { ok: true, text: "no synchronous standby is configured" };
  const isAway = sees && connected === 0;
  if (!isAway && waiting === 0) return { ok: true, text: `commits reach ${names}` };
  return {
    ok: false,
    text:
      `${isAway ? `no synchronous standby (${names}) is connected` : `the synchronous standby (${names}) is away or too slow`}, ` +
      `and ${count(waiting, "commit")} ${waiting === 1 ? "waits" : "wait"} for it. Start the standby, or change ` +
      "synchronous_standby_names and reload; never cancel the commits that wait, they may be lost in a failover",
  };
}

async function checkMigrations(pool: Pool): Promise<Finding> {
  const { migrations } = await findPending(pool, await readSchemaFiles());
  return migrations.length === 0
    ? { ok: true, text: "all applied" }
    : { ok: false, text: `pending: ${migrations.map(({ name }) => name).join(", ")}. ${HOW_TO_MIGRATE}` };
}

async function checkFunctions(pool: Pool): Promise<Finding> {
  const { functions, goneFunctions } = await findPending(pool, await readSchemaFiles());
  const other = [...functions.map(({ name }) => name), ...goneFunctions];
  return other.length === 0
    ? { ok: true, text: "all as in this version" }
    : { ok: false, text: `not as in this version: ${other.join(", ")}. ${HOW_TO_MIGRATE}` };
}

/** Checks that a notification sent through DATABASE_URL arrives at the connection that the server listens by. */
async function checkListening(pool: Pool, listenUrl: string): Promise<Finding> {
  const channel = `playhead_doctor_${randomUUID().replaceAll("-", "")}`;
  const listener = new pg.Client({ connectionString: listenUrl, connectionTimeoutMillis: LISTEN_TIMEOUT_MS });
  // Without a handler an error would end the process. After an error no notification comes, and the wait below ends.
  listener.on("error", () => undefined);
  await listener.connect();
  try {
    const heard = new Promise((resolve) => listener.once("notification", resolve));
    await listener.query(`listen ${channel}`);
    // One commit that notifies and waits for a synchronous standby holds all others back, perhaps for ever.
    const isSent = await pool
      .query(
        `select set_config('synchronous_commit', 'local', true), set_config('lock_timeout', '${LISTEN_TIMEOUT_MS}ms', true),
           pg_notify($1, '')`,
        [channel],
      )
      .catch((error: unknown) => {
        if (!isRowLocked(error)) throw error;
        return null;
      });
    if (isSent === null)
      return { ok: null, text: "a commit that waits, perhaps for a standby, holds notifications back" };
    return (await endsWithin(heard, LISTEN_TIMEOUT_MS))
      ? { ok: true, text: "a notification came through" }
      : {
          ok: false,
          text:
            `no notification within ${LISTEN_TIMEOUT_MS / 1000} s: behind a pooler in transaction mode, ` +
            "LISTEN_DATABASE_URL has to name a direct connection to the same database",
        };
  } finally {
    await listener.end();
  }
}

async function checkAggregates(pool: Pool, repair: boolean): Promise<Finding> {
  const problems: string[] = [];
  let courses = 0;
  let wrong = 0;
  let repaired = 0;
  for await (const courseId of listCourses(pool)) {
    courses += 1;
    const found = await recount(pool, courseId);
    if (found.length > 0 && repair) {
      const { rows } = await write<{ rows: number }>(pool, "select playhead_repair_course($1) as rows", [courseId]);
      repaired += rows[0]?.rows ?? 0;
    }
    const left = found.length > 0 && repair ? await recount(pool, courseId) : found;
    wrong += left.length;
    problems.push(...left.slice(0, SHOWN_PROBLEMS - problems.length));
  }
  const mended = repaired > 0 ? `; ${count(repaired, "row")} repaired` : "";
  if (wrong === 0) {
    return { ok: true, text: `equal to a recount in ${count(courses, "course")}${mended}` };
  }
  const more = wrong > problems.length ? [`and ${wrong - problems.length} more`] : [];
  const advice = repair ? "" : " (`playhead doctor --repair` mends them)";
  const list = [...problems, ...more].map((problem) => `\n         ${problem}`).join("");
  return {
    ok: false,
    text: `${count(wrong, "row")} ${wrong === 1 ? "differs" : "differ"} from a recount${mended}${advice}${list}`,
  };
}

async function* listCourses(pool: Pool): AsyncGenerator<string> {
  for (let after = ""; ; ) {
    const { rows } = await pool.query<{ id: string }>("select id from courses where id > $1 order by id limit $2", [
      after,
      COURSES_A_PAGE,
    ]);
    yield* rows.map((row) => row.id);
    const last = rows.at(-1);
    if (last === undefined) {
      return;
    }
    after = last.id;
  }
}

async function recount(pool: Pool, courseId: string): Promise<string[]> {
  const { rows } = await pool.query<{ kind: string; user_id: string; id: string; problem: string }>(
    "select kind, user_id, id, problem from playhead_check_course($1)",
    [courseId],
  );
  return rows.map((row) => `course ${courseId}: ${row.kind} ${row.id} of user ${row.user_id} ${row.problem}`);
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
