import { createHash, createHmac } from "node:crypto";
import { Agent, request } from "node:http";
import pg from "pg";
import { openSocketIo } from "../load/socketio-client.ts";
import type { ConnectDashboards } from "./dashboards.ts";
import { toChannel } from "./receivers.ts";

/*
 * Starts updates: at Playhead by a change of rows in the database, at the other contenders by a message.
 */

export interface Publisher {
  /** Starts one update of every topic, with this number. Resolves when the request is sent or answered. */
  publish(number: number): Promise<void>;
  close(): void;
}

/** An update: one learner's row in each of the topics. */
export interface Content {
  topics: string[];
  /** JSON of an update of Playhead, into which the others put the number; empty for Playhead. */
  update: string;
}

/** The most events in one call of soketi's HTTP API. */
const SOKETI_BATCH = 1000;

export async function openPublisher(server: ConnectDashboards, content: Content): Promise<Publisher> {
  const { protocol, url, databaseUrl } = server;
  if (databaseUrl !== undefined) return await openRows(databaseUrl, content);
  return protocol === "pusher" ? openSoketi(url, content) : await openSocket(url, content);
}

async function openRows(databaseUrl: string, { topics }: Content): Promise<Publisher> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const fileIds = topics.map((topic) => topic.slice("file:".length));
  const text = "UPDATE user_progress SET position_ms = $1::bigint * 1000 WHERE file_id = ANY($2)";
  return {
    publish: async (number) => void (await client.query({ name: "update", text, values: [number, fileIds] })),
    close: () => void client.end(),
  };
}

async function openSocket(url: string, { topics, update }: Content): Promise<Publisher> {
  const client = await openSocketIo({ url, namespace: "/dashboard" });
  const [before, after] = splitUpdate(update);
  client.send("content", JSON.stringify({ topics, before, after }));
  return { publish: async (number) => client.send("update", String(number)), close: () => client.close() };
}

/** Splits the JSON of an update at its number. */
function splitUpdate(update: string): [string, string] {
  const match = /^(.*"position":)\d+(.*)$/s.exec(update);
  if (match === null) throw new Error(`no position in the update: ${update}`);
  return [match[1] as string, match[2] as string];
}

function openSoketi(url: string, { topics, update }: Content): Publisher {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 });
  const [before, after] = splitUpdate(update);
  const channels = topics.map(toChannel);
  return {
    async publish(number) {
      const data = `${before}${number}${after}`;
      const events = channels.map((channel) => ({ name: "update", channel, data }));
      if (events.length === 1) await post(agent, url, "/apps/app-id/events", events[0] as object);
      for (let i = 0; i < events.length && events.length > 1; i += SOKETI_BATCH) {
        await post(agent, url, "/apps/app-id/batch_events", { batch: events.slice(i, i + SOKETI_BATCH) });
      }
    },
    close: () => agent.destroy(),
  };
}

/** Signs the request. https://pusher.com/docs/channels/library_auth_reference/rest-api/#authentication */
function post(agent: Agent, url: string, path: string, content: object): Promise<void> {
  const body = JSON.stringify(content);
  const md5 = createHash("md5").update(body).digest("hex");
  const query = `auth_key=app-key&auth_timestamp=${Math.floor(Date.now() / 1000)}&auth_version=1.0&body_md5=${md5}`;
  const signature = createHmac("sha256", "app-secret").update(`POST\n${path}\n${query}`).digest("hex");
  return new Promise((resolve, reject) => {
    const call = request(
      `${url}${path}?${query}&auth_signature=${signature}`,
      {
        agent,
        method: "POST",
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
