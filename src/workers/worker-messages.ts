import type { MetricObject } from "prom-client";

/** What a worker and its supervisor say to each other, over the channel that Node opens between them. */
export type FromWorker =
  | { type: "ready"; url: string }
  /** For the other workers. */
  | { type: "bus"; messages: (readonly [channel: string, text: string])[] }
  /** The figures of all workers are wanted. */
  | { type: "gather"; question: number }
  | { type: "figures"; question: number; figures: MetricObject[] };

export type FromSupervisor =
  | { type: "bus"; messages: (readonly [channel: string, text: string])[] }
  /** A worker was started anew: what it said before that may be lost. */
  | { type: "joined" }
  | { type: "figures?"; question: number }
  | { type: "gathered"; question: number; text: string };
