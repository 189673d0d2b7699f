import { Command, InvalidArgumentError, Option } from "commander";
import { config as loadEnvironmentFile } from "dotenv";
import { loadAuthSecret } from "./auth/auth-secret.ts";
import { createBuiltinTokens } from "./auth/builtin-tokens.ts";
import { addBackupCommands } from "./cli/backup-commands.ts";
import { assertMigrated, withCommandDatabase } from "./cli/command-database.ts";
import { addDatabaseCommands } from "./cli/database-commands.ts";
import { runDoctor } from "./cli/doctor.ts";
import { explainFailure } from "./cli/explain-failure.ts";
import { parseId } from "./cli/option-parsers.ts";
import { addStreamCommands } from "./cli/stream-commands.ts";
import { type Config, loadConfig, VARIABLES } from "./config.ts";
import { migrate } from "./db/migrate.ts";
import { createPool } from "./db/pool.ts";
import { createLogger, type Logger } from "./logger.ts";
import { ROLES, type Role } from "./protocol/roles.ts";
import { readVersion } from "./version.ts";

/*
 * The command line. Standard output carries what a command is asked for, and nothing else: one line of `serve`,
 * a token, the doctor's findings. What goes wrong is told on standard error, and the exit code is 1. What a person
 * should know beside what was asked for is told there, too.
 */

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

function note(line: string): void {
  process.stderr.write(`${line}\n`);
}

interface Setting {
  config: Config;
  logger: Logger;
}

function readSetting(): Setting {
  loadEnvironmentFile({ quiet: true });
  const config = loadConfig(process.env);
  return { config, logger: createLogger({ level: config.LOG_LEVEL }) };
}

/** What runs until it is told to stop. */
interface Running {
  url: string;
  /** Resolves with the exit code. */
  stop(): Promise<number>;
}

async function start({ config, logger }: Setting, workerNumber: number | undefined): Promise<Running> {
  // Loaded here: the other commands need no sockets.
  if (config.WORKERS > 1 && workerNumber === undefined) {
    const { serveWorkers } = await import("./workers/serve-workers.ts");
    return serveWorkers({ config, logger }, process.env);
  }
  const { startServer } = await import("./server.ts");
  const server = await startServer({ config, logger, isWorker: workerNumber !== undefined });
  return {
    url: server.url,
    async stop() {
      const unflushed = await server.stop();
      if (unflushed > 0) {
        logger.error({ unflushed }, "heartbeats were left unwritten; their clients send them again");
      }
      return unflushed > 0 ? 1 : 0;
    },
  };
}

async function serve({ worker }: { worker?: number }): Promise<void> {
  const { config, logger } = readSetting();
  const starting = start({ config, logger }, worker);
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals) => {
    if (stopping) {
      process.exit(1);
    }
    stopping = true;
    logger.info({ signal }, "stopping");
    // Whatever still waits by then is given up: who supervises this process would kill it next.
    setTimeout(() => {
      logger.error({ timeoutMs: config.SHUTDOWN_TIMEOUT_MS }, "the stop took too long");
      process.exit(1);
    }, config.SHUTDOWN_TIMEOUT_MS).unref();
    stop().catch((error: unknown) => {
      fail(error);
      process.exit(1);
    });
  };
  const stop = async () => {
    const running = await starting;
    process.exit(await running.stop());
  };
  process.on("SIGTERM", onSignal);
  // A terminal interrupts the workers as well; they wait for their supervisor's word.
  process.on("SIGINT", worker === undefined ? onSignal : () => undefined);
  try {
    const { url } = await starting;
    print(`Playhead is ready on ${url}`);
  } catch (error) {
    // At once: nothing that a half-finished start left open may keep the process.
    fail(error);
    process.exit(1);
  }
}

async function runMigrate(): Promise<void> {
  const setting = readSetting();
  await withCommandDatabase(setting, async ({ directUrl }) => {
    const { migrations, functions } = await migrate({ connectionString: directUrl, logger: setting.logger });
    const applied = [...migrations, ...(functions.length > 0 ? [`functions: ${functions.join(", ")}`] : [])];
    print(applied.length === 0 ? "Nothing to migrate" : `Applied ${applied.join(", ")}`);
  });
}

async function mintToken(options: { user: string; role: Role; ttl?: number }): Promise<void> {
  const { config, logger } = readSetting();
  const pool =
    config.DATABASE_URL === undefined || config.AUTH_SECRET !== undefined
      ? null
      : createPool({
          connectionString: config.DATABASE_URL,
          max: 1,
          queryTimeoutMs: config.QUERY_TIMEOUT_MS,
          applicationName: "playhead-token",
          logger,
        });
  try {
    if (pool !== null) await assertMigrated(pool);
    const secret = await loadAuthSecret({ config, pool });
    const { mint } = createBuiltinTokens({ secret, ttlSeconds: config.TOKEN_TTL_SECONDS });
    const { token } = await mint({ userId: options.user, role: options.role }, options.ttl);
    print(token);
  } finally {
    await pool?.end();
  }
}

async function doctor({ repair }: { repair: boolean }): Promise<void> {
  const setting = readSetting();
  print("ok  configuration: every variable is valid");
  const healthy = await withCommandDatabase(setting, (database) =>
    runDoctor({ database, repair, logger: setting.logger, print }),
  );
  process.exitCode = healthy ? 0 : 1;
}

function parseTtl(text: string): number {
  const result = VARIABLES.TOKEN_TTL_SECONDS.safeParse(text);
  if (!result.success) {
    throw new InvalidArgumentError(result.error.issues.map((issue) => issue.message).join("; "));
  }
  return result.data;
}

function fail(error: unknown): void {
  note(explainFailure(error));
  process.exitCode = 1;
}

function createProgram(): Command {
  const program = new Command("playhead")
    .description("A real-time progress server. docs/configuration.md lists the environment variables it reads.")
    .version(readVersion())
    .showHelpAfterError("(playhead --help lists the commands)");
  program
    .command("serve")
    .description("run the server until it is told to stop")
    .addOption(new Option("--worker <number>").argParser(Number).hideHelp())
    .action(serve);
  program.command("migrate").description("bring the database to the shape this version needs").action(runMigrate);
  program
    .command("token")
    .description("print a built-in token, for scripts and tests")
    .requiredOption("--user <id>", "whose token it is", parseId)
    .addOption(new Option("--role <role>", "what it may do").choices(ROLES).makeOptionMandatory())
    .option("--ttl <seconds>", "how long it is valid (default: TOKEN_TTL_SECONDS)", parseTtl)
    .action(mintToken);
  program
    .command("doctor")
    .description("check configuration, database, migrations, listening, and that aggregates equal a recount")
    .option("--repair", "recount what differs", false)
    .action(doctor);
  addStreamCommands(program, { readSetting, print, note });
  addBackupCommands(program, { readSetting, print, note });
  addDatabaseCommands(program, { readSetting, note });
  return program;
}

try {
  await createProgram().parseAsync();
} catch (error) {
  fail(error);
}
