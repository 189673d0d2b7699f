import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Bus } from "./bus.ts";
import { channels } from "./channels.ts";

/** How long the other processes have to answer. They hear a question after some 20 ms, and a busy one a little later. */
const ANSWER_WITHIN_MS = 1000;

/** Figures that may be added up. */
export type Figures = Record<string, number>;

/**
 * Adds up what all processes know of something that each of them counts by itself.
 * @param own what this process knows
 * @param waitMs how long to wait for the others; 0 where there are none
 * @returns asks all processes. `processes` tells how many answered in time
 */
export function sumOverProcesses<F extends Figures>(
  bus: Bus,
  own: (id: string) => F,
  waitMs = ANSWER_WITHIN_MS,
): (id: string) => Promise<F & { processes: number }> {
  const asked = new Map<string, Figures[]>();
  bus.listen((message) => {
    if (message.type === "sum") asked.get(message.question)?.push(message.figures);
    if (message.type !== "sum?") return;
    const { question, id } = message;
    bus.publish(channels.sums, { type: "sum", question, figures: own(id) });
  });
  void bus.subscribe(channels.sums); // never rejects

  return async (id) => {
    const question = randomUUID();
    const answers: Figures[] = [];
    asked.set(question, answers);
    bus.publish(channels.sums, { type: "sum?", question, id });
    if (waitMs > 0) await delay(waitMs);
    asked.delete(question);
    const sum: Figures = { processes: answers.length };
    for (const figures of answers)
      for (const [name, figure] of Object.entries(figures)) sum[name] = (sum[name] ?? 0) + figure;
    return sum as F & { processes: number };
  };
}
