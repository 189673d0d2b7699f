import { createHmac } from "node:crypto";
import { expect } from "vitest";
import type { OwnStream, Stream } from "../../src/protocol/stream.ts";
import type { TestPostgres } from "./postgres.ts";
import { type Query, queryOf } from "./query.ts";
import { runPlayhead } from "./run-playhead.ts";
import type { ServerProcess } from "./server-process.ts";
import { connectRaw, connectRawTo, type RawClient } from "./socket-client.ts";
import { mintToken } from "./tokens.ts";
import { waitFor } from "./wait-for.ts";

/*
 * Every interface that takes or makes stream keys. All answers are kept, to be searched for keys.
 */

/** The secret of media servers. */
export const SECRET = "only-these-flows-know-it";

export interface Made {
  stream: OwnStream;
  streamKey: string;
}

export interface KeyLifeParts {
  server: ServerProcess;
  postgres: TestPostgres;
  /** Where commands run. */
  folder: string;
  /** The token of the owner. */
  alice: string;
}

export function createKeyLife({ server, postgres, folder, alice }: KeyLifeParts) {
  const query: Query = queryOf(postgres.url);
  /** Every key that was made. */
  const keys: string[] = [];
  /** Keys that a client sent as an id, so the database was asked for that id. */
  const usedAsIds: string[] = [];
  /** Answers that made a key, in the order of `keys`. */
  const makingAnswers: string[] = [];
  const otherAnswers: string[] = [];
  const sockets: RawClient[] = [];

  /** Calls, and keeps the answer with its headers. */
  async function call(path: string, { as = alice, method = "POST", body = "{}", type = "application/json" } = {}) {
    const response = await fetch(`${server.url}${path}`, {
      method,
      headers: { authorization: `Bearer ${as}`, "content-type": type, origin: server.url },
      ...(method === "GET" ? {} : { body }),
    });
    const text = await response.text();
    const answer = `${method} ${response.status} ${JSON.stringify([...response.headers])} ${text}`;
    const makesKey = text.includes('"streamKey"') && response.ok;
    (makesKey ? makingAnswers : otherAnswers).push(answer);
    return { status: response.status, text };
  }

  /** Calls for a new key. */
  async function makeKey(path: string, body: object = {}): Promise<Made> {
    const made = JSON.parse((await call(path, { body: JSON.stringify(body) })).text) as Made;
    keys.push(made.streamKey);
    return made;
  }

  function create(settings: object = {}): Promise<Made> {
    return makeKey("/v1/streams", { title: "A talk", ...settings });
  }

  /** Runs `playhead streams …`. Its output is kept as an answer: a making answer if it has a key. */
  async function command(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await runPlayhead(["streams", ...args], {
      cwd: folder,
      env: { DATABASE_URL: postgres.url, LOG_LEVEL: "trace" },
    });
    expect(code).toBe(0);
    const [, made] = /"streamKey":"([^"]+)"|^key (.*)$/m.exec(stdout)?.filter(Boolean) ?? [];
    if (made !== undefined) keys.push(made);
    (made === undefined ? otherAnswers : makingAnswers).push(stdout);
    otherAnswers.push(stderr);
    return stdout;
  }

  async function connectMediaServer(name: string): Promise<RawClient> {
    const media = await connectRaw(server.url);
    sockets.push(media);
    media.send(`40/rtmp,${JSON.stringify({ secret: SECRET, server: name, boot: "1" })}`);
    await media.hear((frame) => frame.startsWith("40/rtmp,"));
    return media;
  }

  async function watch(...topics: string[]): Promise<RawClient> {
    const dashboard = await connectRawTo(server.url, "/dashboard", await mintToken("root", "admin"));
    sockets.push(dashboard);
    for (const topic of topics) await dashboard.callRaw("/dashboard", JSON.stringify(["subscribe", { topic }]));
    return dashboard;
  }

  /** Waits until the database has the status. */
  async function until(streamId: string, status: Stream["status"]): Promise<void> {
    await waitFor(
      async () => (await query("SELECT FROM streams WHERE id = $1 AND status = $2", [streamId, status])).length === 1,
      { what: `the stream to be ${status}` },
    );
  }

  const hooks = {
    nginx: (event: string, fields: Record<string, string>, server = "edge-1") =>
      call(`/v1/hooks/nginx-rtmp/${event}?secret=${SECRET}&server=${server}`, {
        body: new URLSearchParams({ app: "live", addr: "192.0.2.1", clientid: "1", ...fields }).toString(),
        type: "application/x-www-form-urlencoded",
      }),
    srs: (fields: object) =>
      call(`/v1/hooks/srs?secret=${SECRET}`, {
        body: JSON.stringify({ client_id: "c1", ip: "192.0.2.1", app: "live", param: "", ...fields }),
      }),
    mediamtx: (fields: object) =>
      call(`/v1/hooks/mediamtx?secret=${SECRET}`, {
        body: JSON.stringify({ action: "publish", id: "m1", ip: "192.0.2.1", protocol: "rtmp", ...fields }),
      }),
    async ome(request: object) {
      const body = JSON.stringify({
        client: { address: "192.0.2.1", port: 40_001 },
        request: { direction: "incoming", status: "opening", protocol: "RTMP", ...request },
      });
      const response = await fetch(`${server.url}/v1/hooks/ovenmediaengine`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "x-ome-signature": createHmac("sha1", SECRET).update(body).digest("base64url"),
        },
        body,
      });
      const text = await response.text();
      otherAnswers.push(text);
      return { status: response.status, text };
    },
  };

  return {
    server,
    postgres,
    query,
    keys,
    usedAsIds,
    makingAnswers,
    otherAnswers,
    sockets,
    call,
    makeKey,
    create,
    command,
    connectMediaServer,
    watch,
    until,
    hooks,
  };
}

export type KeyLife = ReturnType<typeof createKeyLife>;

/** Calls a media server's event. */
export async function ask(media: RawClient, event: string, ...given: unknown[]) {
  return (await media.callRaw("/rtmp", JSON.stringify([event, ...given]))) as unknown as Record<string, string>;
}

/** Wrong keys that give most of the key away. */
export function toNearMisses(key: string): string[] {
  return [key.slice(0, -1), `${key}x`, ` ${key}`, `${key}\n`, key.slice(4), `live/${key}`, `${key}?a=b`];
}
