import { readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * The frames that docs/protocol.md shows, played against a server over a plain WebSocket, line by line.
 */

/** The server pings every 15 s. */
const PING_MS = 60_000;

const COURSE = {
  title: "Demo",
  lessons: [
    { id: "demo-start", title: "Start", files: [{ id: "demo-intro", title: "Introduction", durationSeconds: 24 }] },
  ],
};

function readLines(): string[] {
  const page = readFileSync(new URL("../../docs/protocol.md", import.meta.url), "utf8");
  const block = /```frames\n([\s\S]*?)```/.exec(page)?.[1];
  if (block === undefined) throw new Error("docs/protocol.md has no block of frames any more");
  return block.trim().split("\n");
}

/** A frame of the page as a pattern, in which `…` stands for any text. */
function toPattern(frame: string): RegExp {
  const escaped = frame.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`^${escaped.replaceAll("…", ".*")}$`, "s");
}

let database: TestDatabase;
let server: TestServer;
beforeAll(async () => {
  database = await createTestDatabase();
  server = await startTestServer(database, { RTMP_SECRETS: "a secret of the media servers" });
  await putCourse(server.url, "demo", COURSE);
});
afterAll(async () => {
  await server.stop();
  await database.drop();
});

it("the frames of docs/protocol.md are sent and received as they stand there", async () => {
  const token = await mintToken("bob");
  const ws = new WebSocket(`${server.url.replace(/^http/, "ws")}/socket.io/?EIO=4&transport=websocket`);
  const received: string[] = [];
  ws.on("message", (data, isBinary) => received.push(isBinary ? "(binary)" : data.toString()));
  await new Promise((resolve, reject) => ws.once("open", resolve).once("error", reject));
  const lines = readLines();
  expect(lines.length).toBeGreaterThan(15);
  for (const line of lines) {
    const frame = line.slice(2);
    if (line.startsWith("→ ")) ws.send(frame.replace("TOKEN", token));
    else {
      expect(line).toMatch(/^← /);
      const pattern = toPattern(frame);
      const isThere = () => received.some((each) => pattern.test(each));
      await waitFor(isThere, { what: frame, timeoutMs: PING_MS }).catch((error: Error) => {
        throw new Error(`${error.message}; received instead:\n${received.join("\n")}`);
      });
      received.splice(
        received.findIndex((each) => pattern.test(each)),
        1,
      );
    }
  }
  expect(ws.readyState).toBe(WebSocket.OPEN);
  const closed = new Promise((resolve) => ws.once("close", resolve));
  ws.send(Buffer.from([0x34]));
  await closed;
}, 120_000);
