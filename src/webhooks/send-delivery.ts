import { Webhook } from "standardwebhooks";
import { cutOff } from "../within-time.ts";
import type { DueDelivery, Outcome } from "./outbox.ts";

/*
 * One attempt: a POST, signed as https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 * says. Any answer of the 200s is taken as delivered.
 */

/** A receiver has to answer by then. */
export const ATTEMPT_TIMEOUT_MS = 15_000;
const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
/** The pauses between attempts: three days in all, then the delivery is dead. A random share is added. */
const PAUSES_MS = [
  ...[2, 5, 10, 20, 40].map((seconds) => seconds * SECOND_MS),
  ...[2, 5, 15, 30].map((minutes) => minutes * MINUTE_MS),
  ...[1, 2, 5, 10, 14, 18, 20].map((hours) => hours * HOUR_MS),
];
const GONE = 410;

/** Sends the event once. Never throws. */
export async function sendDelivery(delivery: DueDelivery, signal: AbortSignal): Promise<Outcome> {
  const attempt = cutOff(signal, ATTEMPT_TIMEOUT_MS, (cut) => post(delivery, cut));
  const error = await attempt.catch((thrown: unknown) => explain(thrown));
  if (error === null) return { type: "delivered" };
  if (error === GONE) return { type: "gone" };
  const pauseMs = PAUSES_MS[delivery.attempts - 1];
  if (pauseMs === undefined) return { type: "dead", error: String(error) };
  return { type: "failed", error: String(error), retryInMs: pauseMs * (1 + Math.random() / 4) };
}

/** @returns null if the receiver took it, GONE, or what went wrong */
async function post({ eventId, type, data, createdAt, url, secret }: DueDelivery, signal: AbortSignal) {
  const body = JSON.stringify({ type, timestamp: createdAt.toISOString(), data });
  const sentAt = new Date();
  const response = await fetch(url, {
    method: "POST",
    body,
    // A redirect may lead to an address that nobody has allowed.
    redirect: "manual",
    signal,
    headers: {
      "content-type": "application/json",
      "user-agent": "Playhead",
      "webhook-id": eventId,
      "webhook-timestamp": String(Math.floor(sentAt.getTime() / SECOND_MS)),
      "webhook-signature": new Webhook(secret).sign(eventId, sentAt, body),
    },
  });
  // Nobody reads the answer; without this the connection would stay busy.
  await response.body?.cancel();
  if (response.ok) return null;
  if (response.status === GONE) return GONE;
  return `the receiver answered ${response.status}`;
}

function explain(thrown: unknown): string {
  const { name, message, cause } = thrown as Error;
  if (name === "TimeoutError") return `the receiver did not answer within ${ATTEMPT_TIMEOUT_MS / SECOND_MS} s`;
  const code = (cause as { code?: unknown } | undefined)?.code;
  return `the receiver could not be reached (${String(code ?? message)})`;
}
