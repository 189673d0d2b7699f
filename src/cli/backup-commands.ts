import { setTimeout as delay } from "node:timers/promises";
import type { Command } from "commander";
import { Election } from "../db/election.ts";
import type { Pool } from "../db/pool.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { openFirestore } from "../mirror/firestore.ts";
import { FirestoreMirror } from "../mirror/firestore-mirror.ts";
import { MirrorFollower } from "../mirror/mirror-follower.ts";
import { type MirrorLag, readLag } from "../mirror/mirror-lag.ts";
import { adopt, loadState, type MirrorState, switchOff } from "../mirror/mirror-state.ts";
import { type RestoreReport, restoreFromMirror } from "../mirror/restore-from-mirror.ts";
import { type CommandDatabase, withMigratedPool } from "./command-database.ts";
import type { CommandParts } from "./command-parts.ts";
import { toPlainText } from "./text-table.ts";

/*
 * `playhead backup …`: the commands for the mirror of progress in Firestore. Each works with and without a running server.
 */

const FOLLOW_MS = 500;
const SHOWN = 10;

interface Opened {
  database: CommandDatabase;
  pool: Pool;
  logger: Logger;
  openMirror(): Promise<FirestoreMirror>;
}

/** Adds `backup` and its commands. */
export function addBackupCommands(program: Command, parts: CommandParts): void {
  const backup = program.command("backup").description("look after the mirror of progress in Firestore");
  backup
    .command("status")
    .description("show whether progress is mirrored, and how far the mirror is behind")
    .option("--json", "print one JSON object")
    .action(({ json }: { json?: true }) => withDatabase(parts, (opened) => showStatus(parts, opened, json)));
  backup
    .command("replay")
    .description("write all progress to Firestore again, and wait until that is done")
    .option("--delete-unknown", "delete documents in Firestore whose rows the database does not have", false)
    .action((options: { deleteUnknown: boolean }) => withDatabase(parts, (opened) => replay(parts, opened, options)));
  backup
    .command("restore")
    .description("rebuild progress from Firestore, in a database that has the catalogue but no progress")
    .option("--force", "merge into a database with progress: of each row the higher version stays", false)
    .action((options: { force: boolean }) => withDatabase(parts, (opened) => restore(parts, opened, options)));
  backup
    .command("off")
    .description("stop mirroring; the documents in Firestore stay")
    .action(() =>
      withDatabase(parts, async ({ pool }) => {
        await switchOff(pool);
        parts.print("The mirror is off");
        parts.note("A server with FIRESTORE_MIRROR=true switches it on again.");
      }),
    );
}

async function withDatabase(parts: CommandParts, work: (opened: Opened) => Promise<void>): Promise<void> {
  const setting = parts.readSetting();
  const { config, logger } = setting;
  // A restore of many rows may take long.
  const options = { applicationName: "playhead-backup", max: 2, queryTimeoutMs: 0 };
  await withMigratedPool(setting, options, async (pool, database) => {
    let mirror: FirestoreMirror | undefined;
    const openMirror = async () => {
      const projectId = config.FIREBASE_PROJECT_ID;
      if (projectId === undefined) throw new AppError("bad_request", "FIREBASE_PROJECT_ID is not set.");
      mirror = new FirestoreMirror(await openFirestore({ projectId }));
      return mirror;
    };
    try {
      await work({ database, pool, logger, openMirror });
    } finally {
      await mirror?.close();
    }
  });
}

async function showStatus({ print }: CommandParts, { pool }: Opened, json?: true): Promise<void> {
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

/** Asks for a pass over all rows. A server that mirrors makes it; without such a server this process does. */
async function replay(
  { print }: CommandParts,
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
  // The mirror was off before. Left on, the journal would grow with nobody to read it.
  if (!wasOn) await switchOff(pool);
  print("All progress was written to Firestore");
}

async function restore(
  { print, note }: CommandParts,
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

function describeRestore(report: RestoreReport): string[] {
  const { read, restored, kept, unknownFiles, refused, foreign, deleted, usersDeletedAgain } = report;
  const skipped = [...unknownFiles.values()].reduce((sum, rows) => sum + rows, 0);
  return [
    `restored ${restored} of ${read} rows; ${kept} were there already`,
    ...(foreign > 0 ? [`left alone ${foreign} documents that Playhead did not write`] : []),
    ...(deleted > 0 ? [`deleted ${deleted} rows of users who were deleted after them`] : []),
    ...(usersDeletedAgain > 0
      ? [`deleted ${usersDeletedAgain} users again, who are here from before they were deleted`]
      : []),
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
