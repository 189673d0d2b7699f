import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import type { Config } from "../config.ts";
import { Election } from "../db/election.ts";
import { createPool, type Pool } from "../db/pool.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { openFirestore } from "../mirror/firestore.ts";
import { FirestoreMirror } from "../mirror/firestore-mirror.ts";
import { MirrorFollower } from "../mirror/mirror-follower.ts";
import { type MirrorLag, readLag } from "../mirror/mirror-lag.ts";
import { adopt, loadState, type MirrorState, switchOff } from "../mirror/mirror-state.ts";
import { type RestoreReport, restoreFromMirror } from "../mirror/restore-from-mirror.ts";
import { assertMigrated, type CommandDatabase, withCommandDatabase } from "./command-database.ts";
import { toPlainText } from "./text-table.ts";

/*
 * `playhead backup …`: the mirror of progress in Firestore, as an operator sees to it. Each works beside a running
 * server as well as alone.
 */

const FOLLOW_MS = 500;
const SHOWN = 10;

export interface BackupCommandParts {
  readSetting(): { config: Config; logger: Logger };
  /** What was asked for. */
  print(line: string): void;
  /** What a person should know beside it. */
  note(line: string): void;
}

interface Opened {
  database: CommandDatabase;
  pool: Pool;
  logger: Logger;
  openMirror(): Promise<FirestoreMirror>;
}

/** Adds `backup` and its commands. */
export function addBackupCommands(program: Command, parts: BackupCommandParts): void {
  const backup = program.command("backup").description("see to the mirror of progress in Firestore");
  backup
    .command("status")
    .description("tell whether progress is mirrored, and how far behind")
    .option("--json", "print one JSON object")
    .action(({ json }: { json?: true }) => withDatabase(parts, (opened) => showStatus(parts, opened, json)));
  backup
    .command("replay")
    .description("write all progress to Firestore again; waits until that is done")
    .option("--delete-unknown", "delete there what the database does not know", false)
    .action((options: { deleteUnknown: boolean }) => withDatabase(parts, (opened) => replay(parts, opened, options)));
  backup
    .command("restore")
    .description("rebuild progress from Firestore, in a database that has the catalogue and no progress")
    .option("--force", "merge into one that has: of each row the one with the higher version stays", false)
    .action((options: { force: boolean }) => withDatabase(parts, (opened) => restore(parts, opened, options)));
  backup
    .command("off")
    .description("stop mirroring; what is in Firestore stays")
    .action(() =>
      withDatabase(parts, async ({ pool }) => {
        await switchOff(pool);
        parts.print("The mirror is off");
        parts.note("A server with FIRESTORE_MIRROR=true switches it on again.");
      }),
    );
}

async function withDatabase(parts: BackupCommandParts, work: (opened: Opened) => Promise<void>): Promise<void> {
  const setting = parts.readSetting();
  const { config, logger } = setting;
  await withCommandDatabase(setting, async (database) => {
    // A restore of many takes as long as it takes.
    const pool = createPool({
      connectionString: database.url,
      max: 2,
      queryTimeoutMs: 0,
      applicationName: "playhead-backup",
      logger,
    });
    let mirror: FirestoreMirror | undefined;
    const openMirror = async () => {
      const projectId = config.FIREBASE_PROJECT_ID;
      if (projectId === undefined) throw new AppError("bad_request", "FIREBASE_PROJECT_ID is not set.");
      mirror = new FirestoreMirror(await openFirestore({ projectId }));
      return mirror;
    };
    try {
      await assertMigrated(pool);
      await work({ database, pool, logger, openMirror });
    } finally {
      await mirror?.close();
      await pool.end();
    }
  });
}

async function showStatus({ print }: BackupCommandParts, { pool }: Opened, json?: true): Promise<void> {
  const state = await loadState(pool);
  const lag = await readLag(pool);
  const { rows } = await pool.query<{ rows: number }>("SELECT count(*) AS rows FROM user_progress");
  const progressRows = rows[0]?.rows ?? 0;
  if (json) print(JSON.stringify({ ...state, lagSeconds: lag.seconds, journalRows: lag.rows, progressRows }));
  else for (const line of describe(state, lag, progressRows)) print(line);
}

function describe(state: MirrorState, lag: MirrorLag, progressRows: number): string[] {
  const { enabled, held, project, pass, passUser, passFile, isSameDatabase, mirroredAt, cursor } = state;
  return [
    `mirror ${!enabled ? "off" : held ? "on, held: Firestore has the progress of another database (restore it, or replay)" : "on"}`,
    `project ${project === null ? "-" : toPlainText(project)}`,
    `database ${isSameDatabase === null ? "never mirrored" : isSameDatabase ? "the one that is mirrored" : "another one than is mirrored: a pass over everything is due"}`,
    `cursor ${cursor}, last written ${mirroredAt?.toISOString() ?? "never"}`,
    `lag ${lag.seconds.toFixed(1)} s, ${lag.rows} rows in the journal`,
    `pass ${pass === null ? "none" : passUser === "" ? `${pass}, not begun` : `${pass}, after user ${toPlainText(passUser)}, file ${toPlainText(passFile)}`}`,
    `progress ${progressRows} rows`,
  ];
}

/** A server that follows does the pass; where there is none, this process follows until it is done. */
async function replay(
  { print }: BackupCommandParts,
  { database, pool, logger, openMirror }: Opened,
  { deleteUnknown }: { deleteUnknown: boolean },
): Promise<void> {
  const mirror = await openMirror();
  const { enabled: wasOn } = await loadState(pool);
  await adopt(pool, { project: mirror.projectId, pass: "write", deleteUnknown });
  const metrics = createMetrics();
  const follower = new MirrorFollower({ pool, mirror, metrics, logger }, { intervalMs: FOLLOW_MS });
  const election = new Election({
    duty: "mirror",
    connectionString: database.directUrl,
    isAble: () => true,
    onElected: () => follower.start(),
    onDismissed: () => void follower.stop(), // never rejects
    logger,
  });
  election.start();
  try {
    while ((await loadState(pool)).pass !== null) await delay(FOLLOW_MS);
  } finally {
    await follower.stop();
    await election.stop();
  }
  // Nobody would follow: the journal would only grow.
  if (!wasOn) await switchOff(pool);
  print("All progress was written to Firestore");
}

async function restore(
  { print, note }: BackupCommandParts,
  { pool, openMirror }: Opened,
  { force }: { force: boolean },
): Promise<void> {
  const report = await restoreFromMirror(
    { pool, mirror: await openMirror() },
    { force, onPage: ({ read }) => note(`${read} documents read`) },
  );
  for (const line of describeRestore(report)) print(line);
  if (report.refused.length > 0) process.exitCode = 1;
}

function describeRestore({ read, restored, kept, unknownFiles, refused, foreign }: RestoreReport): string[] {
  const skipped = [...unknownFiles.values()].reduce((sum, rows) => sum + rows, 0);
  return [
    `restored ${restored} of ${read} rows; ${kept} were there already`,
    ...(foreign > 0 ? [`left alone ${foreign} documents that Playhead did not write`] : []),
    ...(skipped > 0
      ? [
          `skipped ${skipped} rows of files that the catalogue does not know; put their courses, then restore with --force:`,
        ]
      : []),
    ...shortened([...unknownFiles].map(([fileId, rows]) => `  ${toPlainText(fileId)}: ${rows}`)),
    ...shortened(
      refused.map(
        ({ userId, fileId, reason }) =>
          `refused user ${toPlainText(userId)}, file ${toPlainText(fileId)}: ${toPlainText(reason)}`,
      ),
    ),
  ];
}

function shortened(lines: string[]): string[] {
  return lines.length <= SHOWN ? lines : [...lines.slice(0, SHOWN), `  and ${lines.length - SHOWN} more`];
}
