import { createHash, createHmac } from "node:crypto";
import { Agent, request } from "node:http";
import pg from "pg";
import { WebSocket } from "ws";
import { toChannel } from "./dialects.ts";

/*
 * How a round is begun: at Playhead by rows that change in the database, at the others by whatever tells them.
 */

export interface Publisher {
  /** One update to every topic, with the round's number in it. Resolves when it has been said, not when it has come. */
  publish(round: number): Promise<void>;
}

export type PublisherOptions =
  | { kind: "rows"; databaseUrl: string }
  | { kind: "socket"; url: string }
  | { kind: "soketi"; port: number };

/** What a round sends: one learner's row each to these topics. */
export interface Content {
  topics: string[];
  /** An update as Playhead made it, for the others to send; the round's number is put in. Empty for Playhead. */
  update: string;
}

/** Events of one call of soketi's HTTP API. */
const SOKETI_BATCH = 1000;

export async function openPublisher(
  options: PublisherOptions,
  content: Content,
): Promise<Publisher & { close(): void }> {
  if (options.kind === "rows") return await openRows(options.databaseUrl, content);
  if (options.kind === "socket") return await openSocket(options.url, content);
  return openSoketi(options.port, content);
}

/** The text before and after the number of the round. */
export function splitUpdate(update: string): [string, string] {
  const match = /^(.*"position":)\d+(.*)$/s.exec(update);
  if (match === null) throw new Error(`no position in the update: ${update}`);
  return [match[1] as string, match[2] as string];
}

async function openRows(databaseUrl: string, { topics }: Content) {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const fileIds = topics.map((topic) => topic.slice("file:".length));
  return {
    publish: async (round: number) => {
      await client.query({
        name: "round",
        text: "UPDATE user_progress SET position_ms = $1::bigint * 1000 WHERE file_id = ANY($2)",
        values: [round, fileIds],
      });
    },
    close: () => void client.end(),
  };
}

async function openSocket(url: string, content: Content) {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  socket.send(JSON.stringify(content));
  return {
    publish: async (round: number) => socket.send(String(round)),
    close: () => socket.terminate(),
  };
}

function openSoketi(port: number, { topics, update }: Content) {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const [before, after] = splitUpdate(update);
  const batches: string[][] = [];
  for (let i = 0; i < topics.length; i += SOKETI_BATCH) batches.push(topics.slice(i, i + SOKETI_BATCH).map(toChannel));
  return {
    async publish(round: number) {
      const data = `${before}${round}${after}`;
      await Promise.all(
        batches.map((channels) => {
          const [only] = channels;
          return channels.length === 1
            ? post(agent, port, "/apps/app-id/events", { name: "update", channel: only, data })
            : post(agent, port, "/apps/app-id/batch_events", {
                batch: channels.map((channel) => ({ name: "update", channel, data })),
              });
        }),
      );
    },
    close: () => agent.destroy(),
  };
}

/** Signed as Pusher has it. https://pusher.com/docs/channels/library_auth_reference/rest-api/#authentication */
function post(agent: Agent, port: number, path: string, content: object): Promise<void> {
  const body = JSON.stringify(content);
  const md5 = createHash("md5").update(body).digest("hex");
  const query = `auth_key=app-key&auth_timestamp=${Math.floor(Date.now() / 1000)}&auth_version=1.0&body_md5=${md5}`;
  const signature = createHmac("sha256", "app-secret").update(`POST\n${path}\n${query}`).digest("hex");
  return new Promise((resolve, reject) => {
    const call = request(
      {
        agent,
        host: "127.0.0.1",
        port,
        method: "POST",
        path: `${path}?${query}&auth_signature=${signature}`,
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
      },
      (response) => {
        response.resume();
        response.once("end", () =>
          response.statusCode === 200 ? resolve() : reject(new Error(`soketi answered ${response.statusCode}`)),
        );
      },
    );
    call.once("error", reject);
    call.end(body);
  });
}
