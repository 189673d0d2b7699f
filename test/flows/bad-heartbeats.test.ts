import { describe, expect, it } from "vitest";
import {
  type BadInputServer,
  DEEP,
  errorOf,
  expectStillUsable,
  GOOD,
  LONG,
  newUser,
  useBadInputServer,
} from "../helpers/bad-input-server.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * A bad heartbeat is refused, the answer says where it is wrong, nothing is written, and the client may go on.
 */

let server: BadInputServer;

useBadInputServer((started) => {
  server = started;
});

const ranges = (count: number) => Array.from({ length: count }, (_, i) => [i / 10, i / 10 + 0.05]);

/** A description, the beat as JSON, and the path that the error names. */
const BAD_BEATS: [string, string, string][] = [
  ["no file", JSON.stringify({ position: 1 }), "fileId"],
  ["a number for a file", JSON.stringify({ ...GOOD, fileId: 7 }), "fileId"],
  ["an object for a file", JSON.stringify({ ...GOOD, fileId: { id: "f100" } }), "fileId"],
  ["an empty file id", JSON.stringify({ ...GOOD, fileId: "" }), "fileId"],
  ["a file id of 129 characters", JSON.stringify({ ...GOOD, fileId: "x".repeat(129) }), "fileId"],
  ["a file id of 5,000 characters", JSON.stringify({ ...GOOD, fileId: LONG }), "fileId"],
  ["a file id with U+0000", JSON.stringify({ ...GOOD, fileId: "f\u0000" }), "fileId"],
  ["a file id with a lone surrogate", '{"fileId":"f\\ud800","position":1}', "fileId"],
  ["no position", JSON.stringify({ fileId: "f100" }), "position"],
  ["a text for a position", JSON.stringify({ ...GOOD, position: "10" }), "position"],
  ["NaN for a position, which JSON writes as null", JSON.stringify({ ...GOOD, position: Number.NaN }), "position"],
  ["a position past what a double holds", '{"fileId":"f100","position":1e999}', "position"],
  ["true for a position", JSON.stringify({ ...GOOD, position: true }), "position"],
  ["a negative position", JSON.stringify({ ...GOOD, position: -1 }), "position"],
  ["a position 10,000 levels deep", `{"fileId":"f100","position":${DEEP}}`, "position"],
  ["an object for the ranges", JSON.stringify({ ...GOOD, played: { from: 0, to: 5 } }), "played"],
  ["a reversed range", JSON.stringify({ ...GOOD, played: [[5, 3]] }), "played.0"],
  ["a range of one number", JSON.stringify({ ...GOOD, played: [[5]] }), "played.0"],
  ["a range of three numbers", JSON.stringify({ ...GOOD, played: [[1, 2, 3]] }), "played.0"],
  ["a range from NaN", JSON.stringify({ ...GOOD, played: [[Number.NaN, 3]] }), "played.0.0"],
  ["a range from before the start", JSON.stringify({ ...GOOD, played: [[-1, 3]] }), "played.0.0"],
  ["33 ranges", JSON.stringify({ ...GOOD, played: ranges(33) }), "played"],
  ["1,000 ranges", JSON.stringify({ ...GOOD, played: ranges(1000) }), "played"],
  ["ranges 10,000 levels deep", `{"fileId":"f100","position":1,"played":${DEEP}}`, "played.0"],
  ["an unknown state", JSON.stringify({ ...GOOD, state: "flying" }), "state"],
  ["a negative rate", JSON.stringify({ ...GOOD, rate: -1 }), "rate"],
  ["a rate of 17", JSON.stringify({ ...GOOD, rate: 17 }), "rate"],
  ["an age from the future", JSON.stringify({ ...GOOD, ageMs: -1 }), "ageMs"],
  ["an age of 31 days", JSON.stringify({ ...GOOD, ageMs: 31 * 24 * 3600 * 1000 }), "ageMs"],
  ["a session id of 5,000 characters", JSON.stringify({ ...GOOD, sessionId: LONG }), "sessionId"],
  ["a session id with U+0000", JSON.stringify({ ...GOOD, sessionId: "s\u0000" }), "sessionId"],
  ["half a number", JSON.stringify({ ...GOOD, seq: 1.5 }), "seq"],
  ["a negative number", JSON.stringify({ ...GOOD, seq: -1 }), "seq"],
  ["an epoch past 32 bits", JSON.stringify({ ...GOOD, epoch: 2 ** 31 }), "epoch"],
  ["a text", JSON.stringify("heartbeat"), ""],
  ["null", "null", ""],
  ["an array", "[]", ""],
  ["nothing but 10,000 levels", DEEP, ""],
];

describe("a heartbeat that is", () => {
  it.each(BAD_BEATS)("%s is refused with the path of what is wrong, and is not written", async (_, beat, path) => {
    const userId = newUser();
    const client = await server.raw("/player", userId);
    const error = errorOf(await client.callRaw("/player", `["heartbeat",${beat}]`));
    expect(error).toMatchObject({ code: "bad_request" });
    expect(error.issues?.[0]?.path).toBe(path);
    expect(error.issues?.length).toBeLessThanOrEqual(8);
    expect(error.message.length).toBeLessThan(1000);
    expect(await server.rowsOf(userId)).toEqual([]);
    expect(await client.callRaw("/player", JSON.stringify(["heartbeat", GOOD]))).toMatchObject({ ok: true });
    expect(await server.rowsOf(userId)).toMatchObject([{ position_ms: 10_000 }]);
  });

  it.each(BAD_BEATS)(
    "%s is refused over HTTP as well, and the other beats of the request are written",
    async (_, beat, path) => {
      const userId = newUser();
      const { status, body } = await server.post(
        `{"beats":[${beat},${JSON.stringify(GOOD)}]}`,
        await mintToken(userId),
      );
      expect(status).toBe(200);
      expect(body.results).toMatchObject([{ ok: false, error: { code: "bad_request" } }, { ok: true }]);
      expect(body.results[0].error.issues[0].path).toBe(path);
      expect(await server.rowsOf(userId)).toMatchObject([{ file_id: "f100", position_ms: 10_000 }]);
    },
  );

  it("past the end is moved to the end, since encoders disagree about the length of a file", async () => {
    const userId = newUser();
    const client = await server.player(userId);
    expect(await client.call("heartbeat", { fileId: "f100", position: 105, played: [[95, 104]] })).toMatchObject({
      ok: true,
      progress: { position: 100, watched: [[95, 100]] },
    });
    expect(await client.call("heartbeat", { fileId: "f1000", position: 1010 })).toMatchObject({
      ok: true,
      progress: { position: 1000 },
    });
  });

  it("for a file that the catalogue does not know is refused as unknown_file by every call", async () => {
    const userId = newUser();
    const client = await server.player(userId);
    const beat = { fileId: "nowhere", position: 1 };
    expect(errorOf(await client.call("heartbeat", beat))).toMatchObject({ code: "unknown_file" });
    expect(errorOf(await client.call("progress:get", { fileId: "nowhere" }))).toMatchObject({ code: "unknown_file" });
    expect(errorOf(await client.call("progress:reset", { fileId: "nowhere" }))).toMatchObject({ code: "unknown_file" });
    expect(errorOf(await client.call("progress:get", { courseId: "nowhere" }))).toMatchObject({ code: "not_found" });
    const { body } = await server.post(JSON.stringify({ beats: [beat] }), await mintToken(userId));
    expect(body.results).toMatchObject([{ ok: false, error: { code: "unknown_file" } }]);
    expect(await server.rowsOf(userId)).toEqual([]);
    await expectStillUsable(client);
  });

  it("the only bad one of three is refused alone", async () => {
    const userId = newUser();
    const client = await server.player(userId);
    const answer = await client.call("heartbeats", {
      beats: [GOOD, { ...GOOD, position: -1 }, { ...GOOD, position: 12 }],
    });
    expect(answer).toMatchObject({
      ok: true,
      results: [{ ok: true }, { ok: false, error: { code: "bad_request" } }, { ok: true }],
    });
    expect(await server.rowsOf(userId)).toHaveLength(1);
  });
});

describe("the frame of a heartbeat", () => {
  it.each([
    ["whole", '{"fileId":"f100","position":3,"played":[[0,3]],"seq":1,"sessionId":"frames"}'],
    ["with unknown fields", '{"fileId":"f100","position":3,"é":"😀","__proto__":{"position":5}}'],
    ["of no file", '{"fileId":"nothing","position":3}'],
    ["past the end", '{"fileId":"f100","position":3000}'],
    ["of no form", '{"fileId":7}'],
    ["of null", "null"],
    ["of an array", "[]"],
  ])("%s gets the same answer from the fast parser and from Socket.IO", async (_what, payload) => {
    const answerTo = async (args: string) => {
      const answer = await (await server.raw("/player")).callRaw("/player", args);
      return JSON.parse(
        JSON.stringify(answer, (key, value) => (["version", "userId", "lastWatched"].includes(key) ? key : value)),
      );
    };
    // The fast parser leaves a frame with this blank to Socket.IO: no Socket.IO client writes one.
    expect(await answerTo(`["heartbeat",${payload}]`)).toEqual(await answerTo(`[ "heartbeat",${payload}]`));
  });
});

describe("the body of POST /v1/heartbeats", () => {
  it.each([
    ["no JSON", "{", 400],
    ["raw NaN", '{"beats":[{"fileId":"f100","position":NaN}]}', 400],
    ["nothing", "", 400],
    ["null", "null", 400],
    ["without beats", "{}", 400],
    ["without a beat", '{"beats":[]}', 400],
    ["101 beats", JSON.stringify({ beats: Array.from({ length: 101 }, () => GOOD) }), 400],
    ["10,000 levels deep", DEEP, 400],
    ["longer than the server takes", JSON.stringify({ beats: [GOOD], padding: "x".repeat(70_000) }), 413],
  ])("that is %s is refused, and nothing is written", async (_, body, status) => {
    const userId = newUser();
    const answer = await server.post(body, await mintToken(userId));
    expect(answer).toMatchObject({ status, body: { status, code: "bad_request" } });
    expect(answer.headers.get("content-type")).toContain("application/problem+json");
    expect(await server.rowsOf(userId)).toEqual([]);
  });
});
