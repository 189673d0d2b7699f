import { decodeJwt } from "jose";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { FILE_IDS, putLoadCourse } from "../helpers/flow-server.ts";
import { connect, type Namespace } from "../helpers/socket-client.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * A listener of the server throws, for one socket. A server that let it go would end with the test's process.
 */

let database: TestDatabase;
let server: TestServer;

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startTestServer(database, { LOG_LEVEL: "silent" });
  await putLoadCourse(server.url);
});
afterEach(() => {
  vi.restoreAllMocks();
});
afterAll(async () => {
  await server.stop();
  await database.drop();
});

/** Makes the server fail wherever it writes the end of this token. */
function breakEndOf(token: string): void {
  const endMs = (decodeJwt(token).exp as number) * 1000;
  const { toISOString } = Date.prototype;
  vi.spyOn(Date.prototype, "toISOString").mockImplementation(function (this: Date) {
    if (this.getTime() === endMs) throw new RangeError("Invalid time value");
    return toISOString.call(this);
  });
}

it.each<Namespace>(["/player", "/dashboard"])(
  "of %s that fails ends its own socket, and no other",
  async (namespace) => {
    const others = await Promise.all([
      connect(server.url, "/player", await mintToken("bob")),
      connect(server.url, "/player", await mintToken("carol")),
    ]);
    // A token that ends soon is told to its client as soon as the client is connected.
    const token = await mintToken("mallory", "learner", 30);
    breakEndOf(token);
    const broken = await connect(server.url, namespace, token);
    await broken.gone;
    for (const [i, other] of others.entries()) {
      const answer = await other.call("heartbeat", { fileId: FILE_IDS[i], position: 10 });
      expect(answer).toMatchObject({ ok: true });
      expect(other.socket.connected).toBe(true);
    }
    // Nor is the user shut out.
    const again = await connect(server.url, namespace, await mintToken("mallory"));
    for (const client of [...others, again, broken]) client.close();
  },
);
