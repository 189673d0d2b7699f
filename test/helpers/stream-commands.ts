import { Command, CommanderError } from "commander";
import { afterAll, beforeAll, beforeEach, expect } from "vitest";
import { explainFailure } from "../../src/cli/explain-failure.ts";
import { addStreamCommands } from "../../src/cli/stream-commands.ts";
import { loadConfig } from "../../src/config.ts";
import { createLogger } from "../../src/logger.ts";
import type { OwnStream } from "../../src/protocol/stream.ts";
import { removeDataFolder } from "./data-folder.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { runPlayhead } from "./run-playhead.ts";
import { makeTemporaryFolder } from "./temporary-folder.ts";

export const SHOWN_ONCE = "Keep the key: it is not shown again. If it is lost, rotate the stream's key.\n";

export interface Ran {
  code: number | NodeJS.Signals;
  stdout: string;
  stderr: string;
}

export interface Made {
  stream: OwnStream;
  streamKey: string;
}

/** Runs `playhead streams …`. */
export class StreamCommands {
  readonly folder: string;
  readonly database: TestDatabase;
  /** Where the commands find their database. */
  env: Record<string, string> = {};
  /** Whether `run` starts a process, which takes a second; otherwise it runs the command in this process. */
  isAlone = false;

  constructor(folder: string, database: TestDatabase) {
    this.folder = folder;
    this.database = database;
  }

  /** As before each test: in this process, on the database of the tests. */
  reset(): void {
    this.env = { DATABASE_URL: this.database.url, MAX_STREAMS_PER_USER: "1000" };
    this.isAlone = false;
  }

  run(...args: string[]): Promise<Ran> {
    return this.isAlone ? this.runAlone(...args) : runHere(args, this.env);
  }

  /** Runs a command in a process of its own. */
  runAlone(...args: string[]): Promise<Ran> {
    return runPlayhead(["streams", ...args], { cwd: this.folder, env: this.env });
  }

  /** Runs a command that has to succeed. @returns its standard output */
  async succeed(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...args);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout;
  }

  async expectRefused(args: string[], reason: string | RegExp): Promise<void> {
    const { code, stdout, stderr } = await this.run(...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(reason);
    expect(stderr).not.toMatch(/^\s+at /m);
  }

  /** Runs a command that prints a key. */
  async printKey(...args: string[]): Promise<Made> {
    const { code, stdout, stderr } = await this.run(...args, "--json");
    expect({ code, stderr }).toEqual({ code: 0, stderr: SHOWN_ONCE });
    return JSON.parse(stdout);
  }

  create(...more: string[]): Promise<Made> {
    return this.printKey("create", "--user", "alice", "--title", "A talk", ...more);
  }
}

/** Makes a folder and a database before the tests of a file, and removes them after the last. */
export function useStreamCommands(onMade: (commands: StreamCommands) => void): void {
  let commands: StreamCommands;
  beforeAll(async () => {
    commands = new StreamCommands(await makeTemporaryFolder(), await createTestDatabase());
    onMade(commands);
  });
  beforeEach(() => commands.reset());
  afterAll(async () => {
    await removeDataFolder(commands.folder);
    await commands.database.drop();
  });
}

/** Runs `playhead streams …` in this process, put together as in src/main.ts. */
async function runHere(args: string[], env: Record<string, string>): Promise<Ran> {
  const ran: Ran = { code: 0, stdout: "", stderr: "" };
  const writeOut = (text: string) => {
    ran.stdout += text;
  };
  const writeErr = (text: string) => {
    ran.stderr += text;
  };
  const program = new Command("playhead").exitOverride().configureOutput({ writeOut, writeErr });
  addStreamCommands(program, {
    readSetting: () => ({ config: loadConfig(env), logger: createLogger({ level: "error" }) }),
    print: (line) => writeOut(`${line}\n`),
    note: (line) => writeErr(`${line}\n`),
  });
  try {
    await program.parseAsync(["streams", ...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) writeErr(`${explainFailure(error)}\n`);
    ran.code = error instanceof CommanderError ? error.exitCode : 1;
  }
  return ran;
}
