import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createWorld, FRAME_MS, SECOND, useFakeClock } from "../../../test/helpers/live-world.ts";

beforeEach(useFakeClock);
afterEach(() => {
  vi.useRealTimers();
});

function createLoggedWorld() {
  const lines: { level: number; msg: string; topic?: string }[] = [];
  const logger = pino({ level: "info" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  return { world: createWorld(logger), lines };
}
const [INFO, WARN, ERROR] = [30, 40, 50];

describe("an outage of the database", () => {
  it("is one line for each kind of reading, and one when all topics are read again", async () => {
    const { world, lines } = createLoggedWorld();
    for (const file of ["f1", "f2", "f3"]) (await world.subscribe("a", `file:${file}`)).ready();
    const away = async (isAway: boolean) => {
      world.failing.reads = isAway;
      world.failing.totals = isAway;
      for (const file of ["f1", "f2", "f3"]) world.write(file, ["alice"]);
      await vi.advanceTimersByTimeAsync(10 * SECOND);
    };
    await away(true);
    await away(true);
    const kinds = ["changed rows", "sums over learners"];
    expect(lines.map(({ level }) => level)).toEqual(kinds.map(() => WARN));
    for (const kind of kinds) expect(lines.some(({ msg }) => msg.startsWith(`${kind} could not be read`))).toBe(true);
    await away(false);
    const back = lines.slice(kinds.length);
    expect(back.map(({ level }) => level)).toEqual(kinds.map(() => INFO));
    for (const kind of kinds) expect(back.map(({ msg }) => msg)).toContain(`${kind} are read again`);
    world.hub.stop();
  });

  it("is logged again where the topics that could not be read were left before it ended", async () => {
    const { world, lines } = createLoggedWorld();
    (await world.subscribe("a", "file:f1")).ready();
    world.failing.reads = true;
    world.resync();
    await vi.advanceTimersByTimeAsync(SECOND);
    world.hub.unsubscribe("file:f1", "a");
    world.failing.reads = false;
    (await world.subscribe("a", "file:f2")).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    world.failing.reads = true;
    world.resync();
    await vi.advanceTimersByTimeAsync(SECOND);
    const unread = lines.filter(({ msg }) => msg.startsWith("topics could not be read"));
    expect(unread.map(({ topic }) => topic)).toEqual(["file:f1", "file:f2"]);
    world.hub.stop();
  });
});

describe("a topic whose frame fails", () => {
  it("keeps no frames of other topics back, and shows everything once it succeeds", async () => {
    const { world, lines } = createLoggedWorld();
    // In this order the broken one comes first.
    for (const [id, file] of [
      ["broken", "f1"],
      ["good", "f2"],
    ] as const)
      (await world.subscribe(id, `file:${file}`)).ready();
    await vi.advanceTimersByTimeAsync(SECOND);
    const get = vi.spyOn(world.buffered, "get").mockImplementation((id) => {
      if (id === "broken") throw new Error("planned");
      return 0;
    });
    for (let i = 0; i < 8; i++) {
      for (const file of ["f1", "f2"]) world.write(file, ["alice"]);
      await vi.advanceTimersByTimeAsync(FRAME_MS);
    }
    expect(world.shownTo("good").get("alice f2")).toBe(world.versions().get("alice f2"));
    expect(lines).toMatchObject([{ level: ERROR, topic: "file:f1", msg: expect.stringContaining("frames could not") }]);
    get.mockRestore();
    await vi.advanceTimersByTimeAsync(2 * SECOND);
    expect(lines.slice(1)).toMatchObject([{ level: INFO, msg: "frames are sent again" }]);
    expect(world.shownTo("broken").get("alice f1")).toBe(world.versions().get("alice f1"));
    world.hub.stop();
  });
});
