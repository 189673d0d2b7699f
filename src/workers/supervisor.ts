import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { AggregatorRegistry, type MetricObject } from "prom-client";
import { createGuard, type Guard } from "../guard.ts";
import type { Logger } from "../logger.ts";
import { endsWithin } from "../within-time.ts";
import type { FromSupervisor, FromWorker } from "./worker-messages.ts";

/*
 * Several workers on one port, which the kernel shares among them (SO_REUSEPORT). The supervisor starts a worker again
 * when it dies, and drains all workers at a stop.
 */

/** How long a dead worker waits to be started again. The wait doubles up to the last with every death. */
const FIRST_BACKOFF_MS = 200;
const LAST_BACKOFF_MS = 10_000;
/** A worker that has lived this long begins with the first backoff again. */
const SETTLED_MS = 30_000;
/** The figures of a worker that takes longer than this to answer are left out. */
const FIGURES_MS = 2000;

export interface SupervisorOptions {
  workers: number;
  /** The script that each worker runs, and its arguments before `--worker <number>`. */
  program: string;
  args: string[];
  env: Record<string, string | undefined>;
  logger: Logger;
}

/** One worker's place: the process in it changes when the worker is started again. */
interface Slot {
  index: number;
  process: ChildProcess | null;
  startedAt: number;
  backoffMs: number;
  restart: NodeJS.Timeout | null;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #guard: Guard;
  readonly #slots: Slot[];
  #isStopping = false;
  /** Takes the workers' answers to a question for figures, by the question's number. */
  readonly #gathering = new Map<number, (figures: MetricObject[]) => void>();
  #lastQuestion = 0;

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#guard = createGuard(options.logger);
    this.#slots = Array.from({ length: options.workers }, (_, index) => ({
      index,
      process: null,
      startedAt: 0,
      backoffMs: FIRST_BACKOFF_MS,
      restart: null,
    }));
  }

  /**
   * Starts all workers, and waits until all are ready.
   * @returns their common address
   * @throws Error if a worker ends before it is ready
   */
  async start(): Promise<string> {
    const urls = await Promise.all(this.#slots.map((slot) => this.#startFirst(slot)));
    return urls[0] as string;
  }

  /** Drains all workers. @returns the highest of their exit codes */
  async stop(): Promise<number> {
    this.#isStopping = true;
    const codes = this.#slots.map(async ({ process: child, restart }) => {
      if (restart !== null) clearTimeout(restart);
      if (child === null || child.exitCode !== null || child.signalCode !== null) return 0;
      const exited = once(child, "exit");
      child.kill("SIGTERM");
      const [code, signal] = (await exited) as [number | null, NodeJS.Signals | null];
      // A worker without a handler for the signal was still loading: it had taken nothing.
      return code ?? (signal === "SIGTERM" ? 0 : 1);
    });
    return Math.max(0, ...(await Promise.all(codes)));
  }

  #startFirst(slot: Slot): Promise<string> {
    return new Promise((resolve, reject) => {
      const child = this.#start(slot);
      child.on("message", (message: FromWorker) => {
        if (message.type === "ready") resolve(message.url);
      });
      child.once("exit", (code) =>
        reject(new Error(`worker ${slot.index + 1} ended with ${code} before it was ready`)),
      );
    });
  }

  #start(slot: Slot): ChildProcess {
    const { program, args, env, logger } = this.#options;
    const child = fork(program, [...args, "--worker", String(slot.index + 1)], {
      env: env as NodeJS.ProcessEnv,
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    slot.process = child;
    slot.startedAt = performance.now();
    let wasReady = false;
    child.on("message", (message: FromWorker) => {
      if (message.type === "ready") {
        wasReady = true;
        this.#tellOthers(slot, { type: "joined" });
      } else this.#hear(slot, message);
    });
    child.on("error", (error) => logger.warn({ err: error, worker: slot.index + 1 }, "a worker's channel failed"));
    child.once("exit", (code, signal) => {
      slot.process = null;
      if (this.#isStopping) return;
      if (performance.now() - slot.startedAt > SETTLED_MS) slot.backoffMs = FIRST_BACKOFF_MS;
      logger.error(
        { worker: slot.index + 1, code, signal, wasReady, againInMs: slot.backoffMs },
        "a worker ended and will be started again",
      );
      slot.restart = setTimeout(() => this.#guard("starting a worker", () => this.#start(slot)), slot.backoffMs);
      slot.backoffMs = Math.min(LAST_BACKOFF_MS, slot.backoffMs * 2);
    });
    return child;
  }

  #hear(slot: Slot, message: FromWorker): void {
    switch (message.type) {
      case "bus":
        this.#tellOthers(slot, { type: "bus", messages: message.messages });
        break;
      case "gather":
        this.#guard("gathering the figures of workers", async () => {
          this.#tell(slot, { type: "gathered", question: message.question, text: await this.#gather() });
        });
        break;
      case "figures":
        this.#gathering.get(message.question)?.(message.figures);
        break;
      case "ready":
        break;
    }
  }

  async #gather(): Promise<string> {
    this.#lastQuestion += 1;
    const question = this.#lastQuestion;
    const asked = this.#slots.filter(({ process: child }) => child?.connected);
    const figures: MetricObject[][] = [];
    const allAnswered = new Promise<void>((resolve) => {
      this.#gathering.set(question, (answer) => {
        figures.push(answer);
        if (figures.length === asked.length) resolve();
      });
    });
    for (const slot of asked) this.#tell(slot, { type: "figures?", question });
    await endsWithin(allAnswered, FIGURES_MS);
    this.#gathering.delete(question);
    return AggregatorRegistry.aggregate(figures).metrics();
  }

  #tellOthers(slot: Slot, message: FromSupervisor): void {
    for (const other of this.#slots) if (other !== slot) this.#tell(other, message);
  }

  #tell({ process: child }: Slot, message: FromSupervisor): void {
    // The callback keeps a failed send from being thrown: the worker is ending, and will be started again.
    if (child?.connected) child.send(message, () => undefined);
  }
}
