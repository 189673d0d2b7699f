import type { MetricObject } from "prom-client";

/*
 * The messages between a worker and its supervisor, over the channel that Node opens between them.
 */

/** Messages of the bus that go out together. */
type BusMessages = (readonly [channel: string, text: string])[];

export type FromWorker =
  /** The worker takes connections. */
  | { type: "ready"; url: string }
  /** The supervisor passes it on to the other workers. */
  | { type: "bus"; messages: BusMessages }
  /** Asks for the figures of all workers. */
  | { type: "gather"; question: number }
  /** Answers `figures?` with the worker's own figures. */
  | { type: "figures"; question: number; figures: MetricObject[] };

export type FromSupervisor =
  /** Another worker's messages. */
  | { type: "bus"; messages: BusMessages }
  /** Another worker was started again: messages of its predecessor may be lost. */
  | { type: "joined" }
  /** Asks for the worker's own figures. */
  | { type: "figures?"; question: number }
  /** Answers `gather`, in Prometheus's text format. */
  | { type: "gathered"; question: number; text: string };
