import { describe, expect, it } from "vitest";
import { openEncoderHouse } from "../helpers/encoder-house.ts";
import { type GuardedMediaServer, startGuardedMediaServer } from "../helpers/guarded-media-server.ts";
import {
  describePlayheadCrash,
  describePostgresCrash,
  itKeepsTheRulesOfPublishing,
  NOBODYS_KEY,
  playIn,
  useHouse,
} from "../helpers/publishing-rules.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * A real node-media-server with `playhead/rtmp/node-media-server`, and real encoders.
 */

const SECRET = "only-these-flows-know-it";

interface Options {
  env?: Record<string, string>;
  ownPostgres?: boolean;
  /** How long an encoder waits for Playhead before it is refused. */
  answerTimeoutMs?: number;
}

function startMedia(port: string, answerTimeoutMs?: number): Promise<GuardedMediaServer> {
  return startGuardedMediaServer({
    url: `http://127.0.0.1:${port}`,
    secret: SECRET,
    reportIntervalMs: 1000,
    keyFromQuery: true,
    ...(answerTimeoutMs === undefined ? {} : { answerTimeoutMs }),
  });
}

function openHouse({ env = {}, ownPostgres = false, answerTimeoutMs }: Options = {}) {
  return openEncoderHouse({
    startMedia: (port) => startMedia(port, answerTimeoutMs),
    addressOf: ({ rtmpUrl }, { id, key }) => `${rtmpUrl}/${id}?key=${key}`,
    refused: { code: expect.toSatisfy((code) => code > 0) },
    // The secret before is still good: secrets are changed one media server at a time.
    env: { RTMP_SECRETS: `the-next-one,${SECRET}`, ...env },
    ownPostgres,
  });
}

describe("node-media-server", { concurrent: true }, () => {
  const { house, play } = useHouse(() => openHouse());

  itKeepsTheRulesOfPublishing(house);

  it(
    "reports the bitrate of a live stream",
    play(async (scene) => {
      const made = await scene.makeStream();
      await scene.publishLive(made);
      const bitrate = await waitFor(() => made.dashboard.stream()?.bitrateKbps, { what: "the bitrate" });
      expect(bitrate).toBeGreaterThan(10);
      expect(bitrate).toBeLessThan(5000);
    }),
  );

  it.each([
    ["unknown", "a wrong key", NOBODYS_KEY],
    ["no_key", "a missing key", ""],
    ["bad_request", "a key of 10,000 characters", "x".repeat(10_000)],
  ] as const)("tells its owner `%s` where it refuses %s", (reason, what, key) =>
    house().play(async (scene) => {
      const app = what.replaceAll(/\W/g, "-");
      const address = house().media.rtmpUrl.replace(/live$/, app);
      await scene.expectRefused(scene.publishAt(`${address}/talk?key=${key}`));
      await waitFor(
        () =>
          house()
            .media.refusals()
            .some((one) => one.app === app && one.reason === reason),
        {
          what: `${reason}; it said ${JSON.stringify(house().media.refusals())}`,
        },
      );
    }),
  );

  it(
    "refuses a second encoder that publishes a live key under another name",
    play(async (scene) => {
      const made = await scene.makeStream();
      const first = await scene.publishLive(made);
      const before = await scene.sessionsOf(made);
      await scene.expectRefused(scene.publish({ id: "another-name", key: made.key }));
      await first.sendsOn();
      expect(await scene.sessionsOf(made)).toEqual(before);
      expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
    }),
  );

  it(
    "gives the stream to a second encoder under another name where the policy is takeover",
    play(async (scene) => {
      const made = await scene.makeStream({ policy: "takeover" });
      const first = await scene.publishLive(made);
      const second = scene.publish({ id: "takes-over", key: made.key });
      await first.exited;
      await house().media.refused("taken_over");
      await second.sendsOn();
      expect(await scene.sessionsOf(made)).toMatchObject([{ state: "ended" }, { state: "live" }]);
    }),
  );

  it(
    "gives the stream to a second encoder of the same name at its next attempt, because node-media-server itself refuses the first attempt",
    play(async (scene) => {
      const made = await scene.makeStream({ policy: "takeover" });
      const first = await scene.publishLive(made);
      await scene.expectRefused(scene.publish(made));
      await first.exited;
      const again = scene.publish(made);
      await again.sendsOn();
      await made.dashboard.until("live");
      expect(again.running()).toBe(true);
    }),
  );
});

describe("node-media-server that is killed while a stream is live", () => {
  const { house, play } = useHouse(() => openHouse({ env: { STREAM_LEASE_SECONDS: "4" } }));

  it(
    "lets its encoder in at once when it is back",
    play(async (scene) => {
      const made = await scene.makeStream();
      const first = await scene.publishLive(made);
      await house().media.kill();
      await first.exited;
      house().media = await startMedia(house().environment.PORT as string);
      const again = scene.publish(made);
      await again.sendsOn();
      await made.dashboard.until("live");
      expect(await scene.sessionsOf(made)).toMatchObject([{ state: "live", connections: 2 }]);
    }),
  );

  it(
    "loses its stream by the end of the lease",
    play(async (scene) => {
      const made = await scene.makeStream({ reconnectWindowSeconds: 0 });
      await scene.publishLive(made);
      await house().media.kill();
      await made.dashboard.until("ended", 30_000);
    }),
  );
});

describePlayheadCrash(
  (env) => openHouse({ env, answerTimeoutMs: 1500 }),
  (house) => {
    const play = playIn(house);

    it.sequential(
      "hears of an encoder's end when it is back",
      play(async (scene) => {
        const made = await scene.makeStream();
        const encoder = await scene.publishLive(made);
        await house().server.kill();
        await encoder.kill();
        await house().startServerAgain();
        await made.dashboard.until("reconnecting");
        await scene.publishLive(made);
        expect(await scene.sessionsOf(made)).toMatchObject([{ state: "live", connections: 2 }]);
      }),
    );

    it.sequential(
      "may be stopped and started, and no stream notices",
      play(async (scene) => {
        const made = await scene.makeStream();
        const encoder = await scene.publishLive(made);
        const before = await scene.sessionsOf(made);
        await house().server.stop();
        await house().startServerAgain();
        await scene.untilReported(made);
        expect(await scene.sessionsOf(made)).toEqual(before);
        expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
        await encoder.sendsOn();
      }),
    );
  },
  async (media) => {
    expect(await media.refused("unreachable")).toMatchObject({ app: "live" });
  },
);

describePostgresCrash((env) => openHouse({ env, ownPostgres: true }));
