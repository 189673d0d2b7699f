import { XAPI_VERSION, type XapiStatement } from "../protocol/xapi.ts";
import { cutOff } from "../within-time.ts";

/*
 * The learning record store (LRS): one POST of statements to it. A store takes all statements of a POST or none
 * (https://github.com/adlnet/xAPI-Spec/blob/1.0.3/xAPI-Communication.md#212-post-statements). It answers 409 to an id that it
 * has already with other content, some stores to every id that they have.
 */

export type PostOutcome =
  | { type: "taken" }
  /** One of the statements at least is one that the store will never take. `conflict`: it has the id already. */
  | { type: "refused"; conflict: boolean; error: string }
  /** The store takes nothing now. `isAnswered`: it was there, and perhaps failed over these statements alone. */
  | { type: "failed"; isAnswered: boolean; error: string; retryAfterMs: number };

export interface RecordStore {
  /** Never throws. */
  post(statements: readonly XapiStatement[], signal: AbortSignal): Promise<PostOutcome>;
}

const CONFLICT = 409;
/** The answers that are about the statements, not about the store, its address or its credentials. */
const REFUSALS = new Set([400, CONFLICT, 413, 422]);
/** The answers that say nothing about a statement: not signed in, too many requests. */
const BUSY = new Set([401, 429]);
const SHOWN_CHARACTERS = 300;
const MAX_RETRY_AFTER_MS = 3600_000;

/**
 * @param url may hold a user and a password
 * @param auth `user:password`, or a whole Authorization header
 */
export function createRecordStore(
  { url, auth }: { url: string; auth?: string | undefined },
  { timeoutMs }: { timeoutMs: number },
): RecordStore {
  const endpoint = new URL(url);
  const authorization = toAuthorization(endpoint, auth);
  endpoint.username = "";
  endpoint.password = "";
  endpoint.pathname = `${endpoint.pathname.replace(/\/+$/, "")}/statements`;

  async function send(statements: readonly XapiStatement[], signal: AbortSignal): Promise<PostOutcome> {
    const response = await fetch(endpoint, {
      method: "POST",
      body: JSON.stringify(statements),
      // A redirect may lead to an address that nobody has allowed.
      redirect: "manual",
      signal,
      headers: {
        "content-type": "application/json",
        "user-agent": "Playhead",
        "x-experience-api-version": XAPI_VERSION,
        ...(authorization === null ? {} : { authorization }),
      },
    });
    const text = await response.text();
    if (response.ok) return { type: "taken" };
    const { status } = response;
    const error = `the store answered ${status}${toShown(text, authorization)}`;
    if (REFUSALS.has(status)) return { type: "refused", conflict: status === CONFLICT, error };
    const seconds = Number(response.headers.get("retry-after") ?? 0);
    const retryAfterMs = Number.isFinite(seconds) ? Math.min(seconds * 1000, MAX_RETRY_AFTER_MS) : 0;
    return { type: "failed", isAnswered: !BUSY.has(status) && retryAfterMs === 0, error, retryAfterMs };
  }

  return {
    post: (statements, signal) =>
      cutOff(signal, timeoutMs, (cut) => send(statements, cut)).catch((thrown: unknown) => explain(thrown, timeoutMs)),
  };
}

function toAuthorization({ username, password }: URL, auth: string | undefined): string | null {
  if (auth !== undefined && /^(Basic|Bearer) /.test(auth)) return auth;
  const given =
    auth ??
    (username === "" && password === "" ? null : `${decodeURIComponent(username)}:${decodeURIComponent(password)}`);
  return given === null ? null : `Basic ${Buffer.from(given).toString("base64")}`;
}

/** What the store says of itself is worth a look, but it may repeat what it was sent. */
function toShown(text: string, authorization: string | null): string {
  const secrets = authorization === null ? [] : [authorization, ...authorization.split(" ").slice(1)];
  let shown = text.replace(/[\s\p{Cc}\p{Cs}]+/gu, " ").trim();
  for (const secret of secrets) shown = shown.replaceAll(secret, "(not shown)");
  return shown === "" ? "" : `: ${shown.slice(0, SHOWN_CHARACTERS)}`;
}

/** Node's own messages may hold the address; their codes do not. */
function explain(thrown: unknown, timeoutMs: number): PostOutcome {
  const { name, cause } = thrown as Error;
  if (name === "TimeoutError") {
    const error = `the store did not answer within ${timeoutMs / 1000} s`;
    return { type: "failed", isAnswered: true, error, retryAfterMs: 0 };
  }
  const code = (cause as { code?: unknown } | undefined)?.code ?? name;
  return {
    type: "failed",
    isAnswered: false,
    error: `the store could not be reached (${String(code)})`,
    retryAfterMs: 0,
  };
}
