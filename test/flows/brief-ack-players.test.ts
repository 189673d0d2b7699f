import fc from "fast-check";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { createPlayer, type Player } from "../../src/client/player.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { type LossyProxy, startLossyProxy } from "../helpers/lossy-proxy.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { type Client, connect } from "../helpers/socket-client.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Players of the client library are acked briefly by a real server, while everything happens that can come between two
 * of their beats. After each step every player must hold, to the byte, what the server answers whole.
 */

const NO_RATE_LIMIT = { RATE_LIMIT_BURST: "1000000", RATE_LIMIT_PER_SECOND: "1000000" };
const isAck = (message: string) => message.startsWith("43/player,");
const isBrief = (message: string) => isAck(message) && message.includes('"base":');
const isPush = (message: string) => message.startsWith('42/player,["progress"');

let database: TestDatabase;
let server: TestServer;
let proxy: LossyProxy;
let briefAcks = 0;
let worlds = 0;

beforeAll(async () => {
  vi.stubGlobal("window", page);
  database = await createTestDatabase();
  server = await startTestServer(database, { ...NO_RATE_LIMIT, FRAME_INTERVAL_MS: "50", FLUSH_INTERVAL_MS: "10" });
  proxy = await startLossyProxy(server.url, (message) => {
    if (isBrief(message)) briefAcks++;
  });
});
afterAll(async () => {
  vi.unstubAllGlobals();
  await proxy.stop();
  await server.stop();
  await database.drop();
});

/** What the players take for the page. */
const page = new EventTarget();

/** Makes the players connect at once: after several broken connections they would pause for longer than a test may take. */
function tellNetworkIsBack(): void {
  page.dispatchEvent(new Event("online"));
}

/** One learner with two players of the same file on one page, and a device that is acked whole. */
class World {
  readonly fileId: string;
  readonly players: Player[];
  readonly device: Client;
  readonly token: string;
  /** Every progress that the server told whole, by version. A version may have several: its credits may move. */
  readonly #wholes = new Map<number, Set<string>>();
  readonly #emitted: FileProgress[] = [];
  #seq = 0;

  private constructor(fileId: string, token: string, device: Client) {
    this.fileId = fileId;
    this.token = token;
    this.device = device;
    const options = { url: proxy.url, token, fileId, storage: null };
    this.players = [createPlayer(options), createPlayer(options)];
    for (const player of this.players) {
      player.on("progress", (progress) => this.#emitted.push(progress));
      player.on("state", (state) => state === "connecting" && setImmediate(tellNetworkIsBack));
    }
    device.socket.on("progress", (progress) => this.#note(progress));
  }

  static async open(): Promise<World> {
    const fileId = `file-${++worlds}`;
    await World.putFile(fileId, {});
    const token = await mintToken(`learner-${worlds}`);
    const world = new World(fileId, token, await connect(server.url, "/player", token));
    await Promise.all(world.players.map((player) => player.ready));
    return world;
  }

  static putFile(fileId: string, facts: Partial<CatalogueFacts>): Promise<void> {
    const file = { id: fileId, title: "File", durationSeconds: 600, ...facts };
    return putCourse(server.url, `course-${fileId}`, {
      title: "Course",
      lessons: [{ id: `lesson-${fileId}`, title: "Lesson", files: [file] }],
    });
  }

  play(index: number, { position, played, state }: Play): void {
    const player = this.players[index] as Player;
    for (const [from, to] of played) player.played(from, to);
    player.report({ position, state });
    player.beat();
  }

  /** The device that is acked whole plays. */
  async playElsewhere({ position, played, state }: Play): Promise<void> {
    const beat = { fileId: this.fileId, position, played, state, sessionId: "tv", seq: ++this.#seq };
    const answer = await this.device.call("heartbeat", beat);
    if (answer.ok) this.#note(answer.progress);
  }

  /** Beats of a page that closes come over HTTP. */
  async playOverHttp({ position, played }: Play): Promise<void> {
    const beat = { fileId: this.fileId, position, played, sessionId: "closed-tab", seq: ++this.#seq };
    const body = JSON.stringify({ beats: [beat], token: this.token });
    expect((await fetch(`${server.url}/v1/heartbeats`, { method: "POST", body })).status).toBe(200);
  }

  /** Waits until nothing is under way, and compares every player with the server. */
  async compare(): Promise<void> {
    for (const [index, player] of this.players.entries()) {
      await waitFor(() => player.state === "online" && player.pending === 0, { what: `player ${index} to be acked` });
      await waitFor(
        async () => {
          const stored = JSON.stringify(await this.#read());
          const held = JSON.stringify(player.progress);
          if (held !== stored) throw new Error(`player ${index} holds ${held}, the server ${stored}`);
          return true;
        },
        { what: `player ${index} to hold what the server does` },
      );
    }
  }

  /** Whatever was emitted is whole, and some whole answer if one of that version was ever given. */
  findWrong(): FileProgress[] {
    return this.#emitted.filter((progress) => {
      const wholes = this.#wholes.get(progress.version);
      return wholes !== undefined && !wholes.has(JSON.stringify(progress));
    });
  }

  async close(): Promise<void> {
    this.device.close();
    await Promise.all(this.players.map((player) => player.close()));
  }

  async #read(): Promise<FileProgress> {
    const answer = await this.device.call("progress:get", { fileId: this.fileId });
    if (!answer.ok) throw new Error(answer.error.message);
    this.#note(answer.progress);
    return answer.progress;
  }

  #note(progress: FileProgress): void {
    const wholes = this.#wholes.get(progress.version) ?? new Set();
    this.#wholes.set(progress.version, wholes.add(JSON.stringify(progress)));
  }
}

interface CatalogueFacts {
  durationSeconds: number;
  creditsAtSeconds: number;
  completionThreshold: number;
}

interface Play {
  position: number;
  played: [number, number][];
  state: "playing" | "paused";
}

const milliseconds = (max: number) => fc.nat(max).map((ms) => ms / 1000);
const plays: fc.Arbitrary<Play> = fc.record({
  position: milliseconds(604_000),
  // Short, so that the budget pays for most; one in a while is more than it pays for, or reaches past the end.
  played: fc.array(
    fc
      .tuple(milliseconds(600_000), fc.constantFrom(20, 20, 20, 20, 120, 120, 90_000))
      .map(([from, lengthMs]): [number, number] => [from, Math.round(from * 1000 + lengthMs) / 1000])
      .filter(([, to]) => to <= 605),
    { maxLength: 2 },
  ),
  state: fc.constantFrom("playing", "paused"),
});
const who = fc.constantFrom(0, 1);
const steps = fc.oneof(
  { weight: 10, arbitrary: fc.record({ kind: fc.constant("play" as const), who, play: plays }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("all at once" as const), a: plays, b: plays, c: plays }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("elsewhere" as const), play: plays }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("over HTTP" as const), play: plays }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("reset" as const), byPlayer: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("lost ack" as const), who, play: plays }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("lost push" as const), a: plays, b: plays }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("offline" as const),
      plays: fc.array(plays, { minLength: 1, maxLength: 4 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("catalogue" as const),
      facts: fc.record({
        durationSeconds: fc.constantFrom(600, 900),
        creditsAtSeconds: fc.constantFrom(300, 590),
        completionThreshold: fc.constantFrom(0.0001, 0.9),
      }),
      a: plays,
      b: plays,
    }),
  },
);
type Step = typeof steps extends fc.Arbitrary<infer T> ? T : never;

async function take(world: World, step: Step): Promise<void> {
  switch (step.kind) {
    case "play":
      return world.play(step.who, step.play);
    case "all at once":
      world.play(0, step.a);
      world.play(1, step.b);
      return world.playElsewhere(step.c);
    case "elsewhere":
      return world.playElsewhere(step.play);
    case "over HTTP":
      return world.playOverHttp(step.play);
    case "reset":
      if (step.byPlayer) await world.players[0]?.reset();
      else await world.device.call("progress:reset", { fileId: world.fileId });
      return;
    case "lost ack": {
      const lost = proxy.loseNext(isAck, { andBreak: true });
      world.play(step.who, step.play);
      return lost;
    }
    case "lost push": {
      const lost = [proxy.loseNext(isPush), proxy.loseNext(isPush)];
      await world.playElsewhere(step.a);
      await Promise.all(lost);
      // The player goes on from a version that it never got, and has to read it.
      return world.play(0, step.b);
    }
    case "offline": {
      proxy.isOpen = false;
      proxy.breakAll();
      await waitFor(() => world.players.every(({ state }) => state !== "online"), { what: "players to notice" });
      for (const play of step.plays) world.play(0, play);
      proxy.isOpen = true;
      return tellNetworkIsBack();
    }
    case "catalogue":
      await World.putFile(world.fileId, step.facts);
      // A move of the credits changes no row: who says nothing hears nothing of it.
      world.play(0, step.a);
      return world.play(1, step.b);
  }
}

it("keeps the progress of every player, to the byte, what the server answers whole, whatever comes between its beats", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(steps, { minLength: 10, maxLength: 25 }), async (given) => {
      const world = await World.open();
      try {
        for (const step of given) {
          await take(world, step);
          await world.compare();
        }
        expect(world.findWrong()).toEqual([]);
      } finally {
        await world.close();
      }
    }),
    { numRuns: 8, endOnFailure: true },
  );
  expect(briefAcks).toBeGreaterThan(20);
});
