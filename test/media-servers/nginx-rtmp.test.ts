import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { type EncoderHouse, openEncoderHouse, type Scene, type StagedStream } from "../helpers/encoder-house.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { type Nginx, startNginx } from "../helpers/nginx.ts";
import {
  describePlayheadCrash,
  describePostgresCrash,
  itKeepsTheRulesOfPublishing,
  NOBODYS_KEY,
  playIn,
  useHouse,
} from "../helpers/publishing-rules.ts";
import { requireTool, TOOLS } from "../helpers/tools.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * A real nginx with the configuration of docs/media-servers/nginx-rtmp.md, and real encoders.
 */

const SECRET = "only-these-flows-know-it";
const SHORT_UPDATES = { "notify_update_timeout 10s": "notify_update_timeout 1s" };

type NginxScene = Scene<Nginx>;

interface Options {
  /** nginx calls Playhead's port for hooks, not the first port through its own proxy. */
  direct?: boolean;
  /** Playhead knows nginx's control URL. */
  isControlled?: boolean;
  /** nginx tells its starts apart, by the page's script. */
  boots?: boolean;
  /** Changes of the page's configuration. */
  changes?: Record<string, string>;
  env?: Record<string, string>;
  ownPostgres?: boolean;
}

async function openHouse(options: Options = {}): Promise<EncoderHouse<Nginx>> {
  const { direct = false, isControlled = true, boots = false } = options;
  const { changes = SHORT_UPDATES, env = {}, ownPostgres = false } = options;
  const hooksPort = await findFreePort();
  return openEncoderHouse({
    startMedia: (port) =>
      startNginx({
        ...{ direct, secret: SECRET, server: "edge-1", boots, changes },
        playhead: `127.0.0.1:${direct ? hooksPort : port}`,
      }),
    addressOf: ({ rtmpUrl }, { key }) => `${rtmpUrl}/${key}`,
    refused: { code: 1, stderr: expect.stringContaining("Input/output error"), sentMs: 0 },
    env: { HOOK_SECRETS: `nginx-rtmp:${SECRET}`, HOOKS_PORT: direct ? hooksPort : "off", ...env },
    envOf: ({ controlUrl }) => (isControlled ? { NGINX_CONTROL_URLS: `edge-1=${controlUrl}` } : {}),
    ownPostgres,
  });
}

describe("nginx-rtmp that calls the port for hooks directly", { concurrent: true }, () => {
  const { house } = useHouse(() => openHouse({ direct: true }));

  itKeepsTheRulesOfPublishing(house);
});

describe("nginx-rtmp that calls the port for hooks directly, without a control URL", () => {
  const { house } = useHouse(() =>
    openHouse({ direct: true, isControlled: false, env: { STREAM_LEASE_SECONDS: "4" } }),
  );

  it("ends its publishers while Playhead is killed, takes them again, and cuts a revoked key at its next update", () =>
    house().play(async (scene) => {
      const made = await scene.makeStream();
      const first = await scene.publishLive(made);
      await house().server.kill();
      expect(await first.exited).toMatchObject({ code: 1 });
      await scene.expectRefused(scene.publish(made));
      await house().startServerAgain();
      // nginx could not report the end: the connection has another number, so the lease has to pass first.
      await scene.passLease(made);
      await made.dashboard.until("reconnecting");
      const second = await scene.publishLive(made);
      await scene.untilReported(made);
      await house().api.revoke(made.id);
      await scene.expectCut(second, made, "revoked");
    }));
});

describe("nginx-rtmp with its control URL", { concurrent: true }, () => {
  const { house, play } = useHouse(() => openHouse());

  itKeepsTheRulesOfPublishing(house);

  it(
    "lets a second encoder take over where the policy is takeover, and the end of the first one changes nothing",
    play(async (scene) => {
      const made = await scene.makeStream({ policy: "takeover" });
      const first = await scene.publishLive(made);
      const second = scene.publish(made);
      await second.sendsOn();
      expect(await first.exited).toMatchObject({ code: 1 });
      await scene.untilReported(made);
      expect(made.dashboard.stream()?.status).toBe("live");
      expect(await scene.sessionsOf(made)).toMatchObject([{ state: "ended" }, { state: "live" }]);
    }),
  );

  it.each([
    ["another stream's name and another event", "?name=VICTIM&call=publish_done"],
    ["another connection", "?clientid=1"],
    ["another application", "?app=other"],
    ["the fields of an update", "?time=1&timestamp=1"],
  ])("refuses a key that is followed by %s, and changes nothing", (_, behind) =>
    house().play(async (scene) => {
      const victim = await scene.makeStream();
      const attacker = await scene.makeStream();
      const live = await scene.publishLive(victim);
      const before = await scene.sessionsOf(victim);
      await scene.expectRefused(scene.publish(attacker, behind.replace("VICTIM", victim.key)));
      await live.sendsOn();
      expect(await scene.sessionsOf(victim)).toEqual(before);
      expect(await scene.sessionsOf(attacker)).toEqual([]);
      expect(victim.dashboard.statuses()).toEqual(["ready", "live"]);
      expect(attacker.dashboard.statuses()).toEqual(["ready"]);
    }),
  );

  it(
    "accepts a key that is followed by harmless fields",
    play(async (scene) => {
      const made = await scene.makeStream();
      scene.publish(made, "?quality=high");
      await made.dashboard.until("live");
    }),
  );

  it(
    "lets nobody play by RTMP, because players would have to know the key",
    play(async (scene) => {
      const made = await scene.makeStream();
      const encoder = await scene.publishLive(made);
      const url = `${house().media.rtmpUrl}/${made.key}`;
      const player = spawn(requireTool(TOOLS.ffmpeg), ["-loglevel", "quiet", "-i", url, "-f", "null", "-"]);
      expect((await once(player, "exit"))[0]).not.toBe(0);
      await encoder.sendsOn();
    }),
  );
});

describe("nginx-rtmp configured as the page says, to the second", { concurrent: true }, () => {
  const { house, play } = useHouse(() => openHouse({ changes: {} }));

  it(
    "cuts the encoder of a revoked key before its first report",
    play(async (scene) => {
      const made = await scene.makeStream();
      const encoder = await scene.publishLive(made);
      await house().api.revoke(made.id);
      await scene.expectCut(encoder, made, "revoked");
      const [session] = await house().query("SELECT media_time_ms FROM stream_sessions WHERE stream_id = $1", [
        made.id,
      ]);
      expect(session).toEqual({ media_time_ms: null });
    }),
  );

  it(
    "ends an encoder that hangs without hanging up, but not before it was silent for seconds",
    play(async (scene) => {
      const made = await scene.makeStream();
      const encoder = await scene.publishLive(made);
      process.kill(encoder.pid, "SIGSTOP");
      expect(await made.dashboard.until("reconnecting", 25_000)).toBeGreaterThan(5000);
    }),
  );
});

describePlayheadCrash(
  (env) => openHouse({ env }),
  (house) => {
    it.sequential(
      "cuts nobody when it comes back with another secret, and lets nobody in",
      playIn(house)(async (scene) => {
        const made = await scene.makeStream();
        const other = await scene.makeStream();
        const encoder = await scene.publishLive(made);
        expect(await house().server.stop()).toBe(0);
        await house().startServerAgain({ HOOK_SECRETS: "nginx-rtmp:another" });
        await scene.expectRefused(scene.publish(other));
        // Several updates, each of them answered with 401.
        await encoder.sendsOn(3000);
      }),
    );
  },
);

describePostgresCrash((env) => openHouse({ env, ownPostgres: true }));

describe("nginx-rtmp without a control URL", () => {
  const { house } = useHouse(() => openHouse({ isControlled: false }));

  it("cuts the encoder of a revoked key at its next update", () =>
    house().play(async (scene) => {
      const made = await scene.makeStream();
      const encoder = await scene.publishLive(made);
      await house().api.revoke(made.id);
      await scene.expectCut(encoder, made, "revoked");
      expect(made.dashboard.statuses()).toEqual(["ready", "live", "revoked"]);
    }));
});

/** Publishes over a connection whose number is not the first: another connection came before it. */
async function publishAsSecond(scene: NginxScene, made: StagedStream) {
  await scene.expectRefused(scene.publish({ id: "wrong", key: NOBODYS_KEY }));
  return scene.publishLive(made);
}

/** Kills nginx while the stream is live, and starts it again. Its connections are numbered from 1 again. */
async function killNginx(scene: NginxScene, live: { exited: Promise<unknown> }): Promise<void> {
  const { media } = scene.house;
  await media.kill();
  await live.exited;
  await media.startAgain();
}

async function playOverReload(scene: NginxScene): Promise<void> {
  const made = await scene.makeStream();
  const encoder = await scene.publishLive(made);
  const before = await scene.sessionsOf(made);
  await scene.house.media.reload();
  await encoder.sendsOn();
  await scene.untilReported(made);
  // The new worker does not know the streams of the old one: only Playhead refuses a second encoder.
  await scene.expectRefused(scene.publish(made));
  expect(await scene.sessionsOf(made)).toEqual(before);
  expect(made.dashboard.statuses()).toEqual(["ready", "live"]);
  await scene.house.api.revoke(made.id);
  await scene.expectCut(encoder, made, "revoked");
}

describe("nginx-rtmp that cannot tell its starts apart", { concurrent: true }, () => {
  const { play } = useHouse(() => openHouse({ env: { STREAM_LEASE_SECONDS: "4" } }));

  it.sequential(
    "lets the encoder in at once after nginx was killed, when its connection has the same number again",
    play(async (scene) => {
      const made = await scene.makeStream();
      const first = await scene.publishLive(made);
      const [before] = await scene.sessionsOf(made);
      await killNginx(scene, first);
      await scene.publish(made).sendsOn();
      const [after, ...more] = await scene.sessionsOf(made);
      expect(more).toEqual([]);
      expect(after).toMatchObject({ state: "live", connections: 2, connection: before?.connection });
      expect(after?.boot).not.toBe(before?.boot);
    }),
  );

  it.sequential(
    "lets the encoder in by the end of the lease after nginx was killed, when its connection has another number",
    play(async (scene) => {
      const made = await scene.makeStream();
      await killNginx(scene, await publishAsSecond(scene, made));
      // As encoders do: again and again.
      const again = await waitFor(
        async () => {
          const encoder = scene.publish(made);
          await Promise.race([encoder.exited, encoder.sendsOn(1).catch(() => undefined)]);
          return encoder.running() ? encoder : null;
        },
        { what: "an encoder to be let in", timeoutMs: 20_000 },
      );
      await again.sendsOn();
      expect(await scene.sessionsOf(made)).toMatchObject([{ state: "live", connections: 2 }]);
    }),
  );

  it.sequential("goes on over a reload, and cuts a revoked key at its next update", play(playOverReload));
});

describe("nginx-rtmp that tells its starts apart", { concurrent: true }, () => {
  const { play } = useHouse(() => openHouse({ boots: true }));

  it.sequential(
    "lets the encoder in at once after it was killed, whatever number its connection has",
    play(async (scene) => {
      const made = await scene.makeStream();
      await killNginx(scene, await publishAsSecond(scene, made));
      await scene.publish(made).sendsOn();
      expect(await scene.sessionsOf(made)).toMatchObject([{ state: "live", connections: 2 }]);
    }),
  );

  it.sequential(
    "goes on over a reload, which is no start, and cuts a revoked key at its next update",
    play(playOverReload),
  );
});
