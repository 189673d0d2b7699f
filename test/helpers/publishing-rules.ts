import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { EncoderHouse, HouseMedia, Scene } from "./encoder-house.ts";
import { readMetric } from "./server-calls.ts";
import { waitFor } from "./wait-for.ts";

/*
 * Rules that hold for every media server that tells Playhead when an encoder comes and goes.
 */

/** Media servers may take up to 7.5 s to connect again, and report every second then. */
const CRASH_LEASE_SECONDS = 15;
/** Media servers report every second, and Playhead is there all the time. */
const OUTAGE_LEASE_SECONDS = 4;

export const NOBODYS_KEY = "phk_nobody-has-this-key";

/** Makes a test that plays in the house, which is opened before it. */
export function playIn<Media extends HouseMedia>(house: () => EncoderHouse<Media>) {
  return (test: (scene: Scene<Media>) => Promise<void>) => () => house().play(test);
}

/** Opens a house before the tests of a `describe`, and closes it after them. */
export function useHouse<Media extends HouseMedia>(open: () => Promise<EncoderHouse<Media>>) {
  let opened: EncoderHouse<Media>;
  beforeAll(async () => {
    opened = await open();
  });
  afterAll(() => opened.close());
  const house = () => opened;
  return { house, play: playIn(house) };
}

/** Registers the rules of publishing. They may run at the same time as other tests of the house. */
export function itKeepsTheRulesOfPublishing<Media extends HouseMedia>(house: () => EncoderHouse<Media>): void {
  const play = playIn(house);

  it(
    "lets an encoder with a right key publish, and dashboards show the stream as live",
    play(async (scene) => {
      const made = await scene.makeStream();
      expect(made.dashboard.stream()?.status).toBe("ready");
      const encoder = scene.publish(made);
      await waitFor(() => encoder.sentMs() > 0, { what: "media" });
      await made.dashboard.until("live");
      await scene.untilReported(made);
      expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
      expect(await scene.sessionsOf(made)).toMatchObject([{ state: "live", connections: 1, provisional: false }]);
    }),
  );

  it(
    "refuses a wrong, an expired, a revoked and a disabled key, and takes the disabled key again once it is enabled",
    play(async (scene) => {
      const { api } = house();
      const expired = await scene.makeStream({ expiresAt: new Date(Date.now() + 1500).toISOString() });
      const revoked = await scene.makeStream();
      const disabled = await scene.makeStream();
      await api.revoke(revoked.id);
      await api.disable(disabled.id);
      await expired.dashboard.until("expired");
      const refused = [{ id: "wrong", key: NOBODYS_KEY }, expired, revoked, disabled];
      await Promise.all(refused.map((made) => scene.expectRefused(scene.publish(made))));
      for (const made of [expired, revoked, disabled]) expect(await scene.sessionsOf(made)).toEqual([]);

      await api.enable(disabled.id);
      await scene.publishLive(disabled);
    }),
  );

  it.each(["revoked", "disabled"] as const)(
    "cuts the encoder of a live key that is %s, and refuses it when it comes back",
    (status) =>
      house().play(async (scene) => {
        const { api } = house();
        const made = await scene.makeStream();
        const encoder = await scene.publishLive(made);
        await (status === "revoked" ? api.revoke(made.id) : api.disable(made.id));
        await scene.expectCut(encoder, made, status);
        await scene.expectRefused(scene.publish(made));
        // The end that the media server reports after the cut changes nothing.
        expect(made.dashboard.statuses()).toEqual(["ready", "live", status]);
      }),
  );

  it(
    "cuts the encoder of a live key that expires",
    play(async (scene) => {
      const made = await scene.makeStream();
      const encoder = await scene.publishLive(made);
      await house().query("UPDATE streams SET expires_at = clock_timestamp() + interval '500 ms' WHERE id = $1", [
        made.id,
      ]);
      await scene.expectCut(encoder, made, "expired");
    }),
  );

  it(
    "refuses a second encoder with a live key, and the first one goes on",
    play(async (scene) => {
      const made = await scene.makeStream();
      const first = await scene.publishLive(made);
      const before = await scene.sessionsOf(made);
      await scene.expectRefused(scene.publish(made));
      await scene.expectRefused(scene.publish(made));
      await first.sendsOn();
      await scene.untilReported(made);
      expect(await scene.sessionsOf(made)).toEqual(before);
      expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
    }),
  );

  it(
    "keeps one session for an encoder that is killed and comes back",
    play(async (scene) => {
      const made = await scene.makeStream();
      await (await scene.publishLive(made)).kill("SIGKILL");
      await made.dashboard.until("reconnecting");
      expect(await scene.sessionsOf(made)).toMatchObject([{ state: "reconnecting", connections: 1 }]);
      await scene.publishLive(made);
      await scene.untilReported(made);
      expect(made.dashboard.statuses()).toEqual(["ready", "live", "reconnecting", "live"]);
      expect(await scene.sessionsOf(made)).toMatchObject([{ state: "live", connections: 2 }]);
    }),
  );

  it(
    "ends a stream whose reconnect window is 0 s when its encoder ends",
    play(async (scene) => {
      const made = await scene.makeStream({ reconnectWindowSeconds: 0 });
      await (await scene.publishLive(made)).kill("SIGINT");
      await made.dashboard.until("ended");
      expect(await scene.sessionsOf(made)).toMatchObject([{ state: "ended", connections: 1 }]);
    }),
  );
}

/*
 * The two crashes may run at the same time, each in a house of its own. The tests of one house run one after the other.
 */

/**
 * Describes what must survive a crash of Playhead. `more` registers tests for the same house, with `it.sequential`.
 * `expectToldUnreachable` is called after an encoder was refused meanwhile.
 */
export function describePlayheadCrash<Media extends HouseMedia>(
  open: (env: Record<string, string>) => Promise<EncoderHouse<Media>>,
  more: (house: () => EncoderHouse<Media>) => void,
  expectToldUnreachable: (media: Media) => Promise<void> = async () => undefined,
): void {
  describe("while a stream is live, a Playhead that is killed", { concurrent: true }, () => {
    const { house, play } = useHouse(() => open({ STREAM_LEASE_SECONDS: String(CRASH_LEASE_SECONDS) }));

    it.sequential(
      "does not end the stream, admits nobody meanwhile, and can cut the encoder when it is back",
      play(async (scene) => {
        const made = await scene.makeStream();
        const other = await scene.makeStream();
        const encoder = await scene.publishLive(made);
        const before = await scene.sessionsOf(made);
        await house().server.kill();
        await scene.expectRefused(scene.publish(other));
        await expectToldUnreachable(house().media);
        await scene.passLease(made);
        await encoder.sendsOn();
        await house().startServerAgain();
        await made.dashboard.until("live");
        await scene.untilReported(made);
        expect(await scene.sessionsOf(made)).toEqual(before);
        expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
        await encoder.sendsOn();
        await house().api.revoke(made.id);
        await scene.expectCut(encoder, made, "revoked");
        await scene.publishLive(other);
      }),
    );

    more(house);
  });
}

/** Describes what must survive a crash of PostgreSQL. */
export function describePostgresCrash<Media extends HouseMedia>(
  open: (env: Record<string, string>) => Promise<EncoderHouse<Media>>,
): void {
  describe("while a stream is live, a PostgreSQL that is killed", { concurrent: true }, () => {
    const { house, play } = useHouse(() => open({ STREAM_LEASE_SECONDS: String(OUTAGE_LEASE_SECONDS) }));

    it.sequential(
      "cuts nobody, lets a cached key in and no other, and both sessions are right when it is back",
      play(async (scene) => {
        const readChanges = () => readMetric(house().server.url, "playhead_stream_changes_total");
        const live = await scene.makeStream();
        const known = await scene.makeStream({ reconnectWindowSeconds: 0 });
        const unknown = await scene.makeStream();
        const encoder = await scene.publishLive(live);
        const before = await scene.sessionsOf(live);
        const last = await scene.publishLive(known);
        const changesBefore = await readChanges();
        await last.kill();
        await known.dashboard.until("ended");
        // At the end of a session the key is unknown until it is read again.
        await waitFor(async () => (await readChanges()) > changesBefore, { what: "the key to be read again" });

        await house().postgres.killImmediately();
        await waitFor(async () => (await fetch(`${house().server.url}/readyz`)).status === 503, { what: "the outage" });
        await scene.expectRefused(scene.publish(unknown));
        const admitted = scene.publish(known);
        await admitted.sendsOn();
        // Media in real time, for longer than the lease.
        await encoder.sendsOn((OUTAGE_LEASE_SECONDS + 1) * 1000);
        expect(admitted.running()).toBe(true);

        await house().postgres.startAgain();
        await known.dashboard.until("live", 20_000);
        await scene.untilReported(live);
        expect(await scene.sessionsOf(live)).toEqual(before);
        expect(await scene.sessionsOf(known)).toMatchObject([
          { state: "ended", provisional: false },
          { state: "live", provisional: true },
        ]);
        expect(await scene.sessionsOf(unknown)).toEqual([]);
        expect(live.dashboard.stream()?.status).toBe("live");
        await encoder.sendsOn();
        await admitted.sendsOn();
        await scene.publishLive(unknown);
      }),
    );
  });
}
