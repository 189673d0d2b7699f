import { randomUUID } from "node:crypto";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { startRedis, startRedisCluster, type TestRedis } from "../../test/helpers/redis.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { RedisLink } from "./redis-link.ts";

const logger = pino({ level: "silent" });
const links: RedisLink[] = [];

afterEach(() => {
  for (const link of links.splice(0)) link.stop();
});

async function open(urls: string[], prefix = "test") {
  const link = new RedisLink({ urls, prefix, node: randomUUID() }, { logger });
  links.push(link);
  const heard: string[] = [];
  const said: string[] = [];
  link.on("message", (channel, text) => heard.push(`${channel} ${text}`));
  link.on("near", () => said.push("near"));
  link.on("away", () => said.push("away"));
  await link.start();
  return { link, heard, said };
}

async function untilHeard(node: { heard: string[] }, what: string): Promise<void> {
  await waitFor(() => node.heard.includes(what), { what: `${what}; heard ${node.heard.join(", ")}` });
}

describe("one Redis", () => {
  let redis: TestRedis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());

  it("carries a message to the links that subscribed to its channel, and to no other", async () => {
    const [a, b] = [await open([redis.url]), await open([redis.url])];
    await b.link.subscribe("course:c1");
    a.link.publish([
      ["course:c2", "not this"],
      ["course:c1", "this"],
    ]);
    await untilHeard(b, "course:c1 this");
    expect(b.heard).toHaveLength(1);
  });

  it("holds a subscription only as long as the channel is wanted", async () => {
    const { link } = await open([redis.url], "counted");
    const count = async () => (await redis.ask((client) => client.pubsub("CHANNELS", "counted:course:*"))) as string[];
    await link.subscribe("course:c1");
    expect(await count()).toEqual(["counted:course:c1"]);
    link.unsubscribe("course:c1");
    await waitFor(async () => (await count()).length === 0, { what: "no subscription" });
  });

  it("keeps installations with different prefixes apart", async () => {
    const [a, b] = [await open([redis.url], "one"), await open([redis.url], "other")];
    await b.link.subscribe("all");
    a.link.publish([["all", "of one"]]);
    const c = await open([redis.url], "other");
    c.link.publish([["all", "of the other"]]);
    await untilHeard(b, "all of the other");
    expect(b.heard).toHaveLength(1);
  });

  it("carries messages on, and is reached again, where a listener fails", async () => {
    const broken = await open([redis.url]);
    const fail = () => {
      throw new Error("planned");
    };
    // `open` listens before this listener, so that `heard` shows what came.
    for (const event of ["message", "near", "away"] as const) broken.link.on(event, fail);
    await broken.link.subscribe("course:c1");
    for (const text of ["one", "two"]) {
      broken.link.publish([["course:c1", text]]);
      await untilHeard(broken, `course:c1 ${text}`);
    }
    await redis.kill();
    await waitFor(() => broken.said.includes("away"), { what: "the loss" });
    await redis.start();
    await waitFor(() => broken.said.at(-1) === "near" && broken.link.isNear, { what: "the return" });
  });

  it("that is restarted is noticed, and the wanted channels are subscribed to again", async () => {
    const [a, b] = [await open([redis.url]), await open([redis.url])];
    await b.link.subscribe("course:c1");
    await redis.kill();
    await waitFor(() => !a.link.isNear && !b.link.isNear, { what: "both to notice" });
    expect(a.link.publish([["course:c1", "lost"]])).toBe(false);
    // While Redis is away, a subscription does not wait for it.
    await b.link.subscribe("course:c2");
    await redis.start();
    await waitFor(() => a.link.isNear && b.link.isNear, { what: "both to be back" });
    expect(b.said).toEqual(["near", "away", "near"]);
    a.link.publish([
      ["course:c1", "one"],
      ["course:c2", "two"],
    ]);
    await untilHeard(b, "course:c1 one");
    await untilHeard(b, "course:c2 two");
  });

  it("that stands still is noticed, though its connections stay open", async () => {
    const a = await open([redis.url]);
    redis.freeze();
    try {
      await waitFor(() => !a.link.isNear, { what: "the silence to be noticed" });
    } finally {
      redis.thaw();
    }
    await waitFor(() => a.link.isNear, { what: "it to be back" });
  });

  it("that is away at the start is found later", async () => {
    await redis.kill();
    const a = await open([redis.url]);
    expect(a.link.isNear).toBe(false);
    await redis.start();
    await waitFor(() => a.link.isNear, { what: "it to be found" });
  });
});

describe("a cluster of three", () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());

  it("is recognised by one of its URLs, and carries sharded channels, whichever node holds them", async () => {
    const urls = cluster.nodes.map(({ url }) => url);
    const [a, b] = [await open(urls.slice(0, 1)), await open(urls)];
    const channels = Array.from({ length: 50 }, (_, i) => `course:c${i}`);
    for (const channel of channels) await b.link.subscribe(channel);
    a.link.publish(channels.map((channel) => [channel, "hello"] as [string, string]));
    for (const channel of channels) await untilHeard(b, `${channel} hello`);
    const held = await Promise.all(
      cluster.nodes.map((node) => node.ask((redis) => redis.call("PUBSUB", "SHARDCHANNELS", "test:course:*"))),
    );
    expect(held.map((names) => (names as string[]).length > 0)).toEqual([true, true, true]);
    expect((held as string[][]).flat()).toHaveLength(channels.length);
  });

  it("is noticed to be away when any one of its nodes stands still", async () => {
    const { link, said } = await open(
      cluster.nodes.map(({ url }) => url),
      "frozen",
    );
    for (const node of cluster.nodes) {
      node.freeze();
      try {
        await waitFor(() => !link.isNear, { what: "the silence to be noticed" });
      } finally {
        node.thaw();
      }
      await waitFor(() => link.isNear, { what: "it to be back", timeoutMs: 30_000 });
    }
    expect(said.filter((word) => word === "away").length).toBeGreaterThanOrEqual(cluster.nodes.length);
  });

  it("holds a subscription only as long as the channel is wanted", async () => {
    const { link } = await open(
      cluster.nodes.map(({ url }) => url),
      "left",
    );
    await link.subscribe("course:c1");
    link.unsubscribe("course:c1");
    await waitFor(
      async () => {
        const held = await Promise.all(
          cluster.nodes.map((node) => node.ask((redis) => redis.call("PUBSUB", "SHARDCHANNELS", "left:course:*"))),
        );
        return held.every((names) => (names as string[]).length === 0);
      },
      { what: "no node to hold it" },
    );
  });
});
