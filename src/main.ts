import { Command, Option } from "commander";
import { config as loadEnvironmentFile } from "dotenv";
import { addBackupCommands } from "./cli/backup-commands.ts";
import type { CommandParts, Setting } from "./cli/command-parts.ts";
import { addDatabaseCommands } from "./cli/database-commands.ts";
import { addDoctorCommand } from "./cli/doctor.ts";
import { explainFailure } from "./cli/explain-failure.ts";
import { addMigrateCommand } from "./cli/migrate-command.ts";
import { addStreamCommands } from "./cli/stream-commands.ts";
import { addTokenCommand } from "./cli/token-command.ts";
import { addUserCommands } from "./cli/user-commands.ts";
import { addWebhookCommands } from "./cli/webhook-commands.ts";
import { loadConfig } from "./config.ts";
import { createLogger } from "./logger.ts";
import { readVersion } from "./version.ts";

/*
 * The command line, and the only file that does something when it is loaded. Standard output carries only the result
 * that the user asked for: the one line of `serve`, a token, the doctor's findings. Everything else goes to standard
 * error. A command that fails exits with 1.
 */

const parts: CommandParts = {
  readSetting() {
    loadEnvironmentFile({ quiet: true });
    const config = loadConfig(process.env);
    return { config, logger: createLogger({ level: config.LOG_LEVEL }) };
  },
  print: (line) => void process.stdout.write(`${line}\n`),
  note: (line) => void process.stderr.write(`${line}\n`),
};

/** A server, or a supervisor with its workers. */
interface Running {
  url: string;
  /** Resolves with the exit code. */
  stop(): Promise<number>;
}

async function start({ config, logger }: Setting, workerNumber: number | undefined): Promise<Running> {
  // Loaded here, because the other commands need no sockets.
  if (config.WORKERS > 1 && workerNumber === undefined) {
    const { serveWorkers } = await import("./workers/serve-workers.ts");
    return serveWorkers({ config, logger }, process.env);
  }
  const { startServer } = await import("./server.ts");
  const server = await startServer({ config, logger, ...(workerNumber === undefined ? {} : { workerNumber }) });
  return {
    url: server.url,
    async stop() {
      const unwritten = await server.stop();
      if (unwritten === 0) return 0;
      logger.error({ unwritten }, "heartbeats were not written; their clients send them again");
      return 1;
    },
  };
}

async function serve({ worker }: { worker?: number }): Promise<void> {
  const isWorker = worker !== undefined;
  const { config, logger } = parts.readSetting();
  const starting = start({ config, logger }, worker);
  let isStopping = false;
  let hasFailed = false;
  const stop = () => {
    isStopping = true;
    // The process exits by itself before its supervisor would kill it.
    setTimeout(() => {
      logger.error({ timeoutMs: config.SHUTDOWN_TIMEOUT_MS }, "the stop took too long");
      process.exit(1);
    }, config.SHUTDOWN_TIMEOUT_MS).unref();
    starting.then((running) => running.stop()).then((code) => process.exit(hasFailed ? 1 : code), exitWith);
  };
  const onSignal = (signal: NodeJS.Signals) => {
    if (isStopping) process.exit(1);
    logger.info({ signal }, "stopping");
    stop();
  };
  // What was under way may have been left half-way, so the process does not go on for long. What waits is still written,
  // and clients are told to come back one by one. Rejections that nobody handles come here too.
  process.on("uncaughtException", (error, origin) => {
    logger[hasFailed ? "debug" : "fatal"]({ err: error, origin }, "nothing caught this error; the server stops");
    hasFailed = true;
    if (!isStopping) stop();
  });
  process.on("SIGTERM", onSignal);
  // A terminal sends SIGINT to the workers too; they wait for the SIGTERM of their supervisor.
  process.on("SIGINT", isWorker ? () => undefined : onSignal);
  try {
    const { url } = await starting;
    parts.print(`Playhead is ready on ${url}`);
  } catch (error) {
    // Exits at once, because a start that failed half-way may have left something open that keeps the process alive.
    exitWith(error);
  }
}

function fail(error: unknown): void {
  parts.note(explainFailure(error));
  process.exitCode = 1;
}

function exitWith(error: unknown): never {
  fail(error);
  process.exit(1);
}

function createProgram(): Command {
  const program = new Command("playhead")
    .description("A real-time progress server. docs/configuration.md lists the environment variables that it reads.")
    .version(readVersion())
    .showHelpAfterError("(playhead --help lists the commands)");
  program
    .command("serve")
    .description("run the server until it is told to stop")
    .addOption(new Option("--worker <number>").argParser(Number).hideHelp())
    .action(serve);
  addMigrateCommand(program, parts);
  addTokenCommand(program, parts);
  addDoctorCommand(program, parts);
  addStreamCommands(program, parts);
  addUserCommands(program, parts);
  addWebhookCommands(program, parts);
  addBackupCommands(program, parts);
  addDatabaseCommands(program, parts);
  return program;
}

try {
  await createProgram().parseAsync();
} catch (error) {
  fail(error);
}
