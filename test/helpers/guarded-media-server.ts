import { join } from "node:path";
import type { PublishRefusal } from "../../src/rtmp/node-media-server.ts";
import { findFreePort } from "./free-port.ts";
import { runProcess } from "./run-process.ts";
import { makeTemporaryFolder } from "./temporary-folder.ts";
import { waitFor } from "./wait-for.ts";

const SCRIPT = join(import.meta.dirname, "guarded-media-server-process.ts");

/** A real node-media-server with the guard. It has a process of its own, because it ends its process when a port is taken. */
export interface GuardedMediaServer {
  /** Encoders publish at `${rtmpUrl}/<key>`. */
  rtmpUrl: string;
  /** The same over HTTP: `${httpUrl}/<key>.flv`. */
  httpUrl: string;
  /** Everything that it has printed. */
  said(): string;
  /** Every encoder that the guard has refused or cut. */
  refusals(): PublishRefusal[];
  /** Waits for a refusal. */
  refused(reason: PublishRefusal["reason"]): Promise<PublishRefusal>;
  /** Kills it, as a crash would. */
  kill(): Promise<void>;
  /** SIGTERM: closes the guard, then the media server. */
  stop(): Promise<void>;
  running(): boolean;
}

export interface GuardedMediaServerOptions {
  /** The URL of Playhead. */
  url: string;
  secret: string;
  server?: string;
  reportIntervalMs?: number;
  answerTimeoutMs?: number;
  silenceTimeoutMs?: number;
  /** The key comes as `name?key=…`. */
  keyFromQuery?: boolean;
}

export async function startGuardedMediaServer(options: GuardedMediaServerOptions): Promise<GuardedMediaServer> {
  const { keyFromQuery = false, server = "ingest-1", ...rest } = options;
  const [rtmpPort, httpPort] = [Number(await findFreePort()), Number(await findFreePort())];
  const folder = await makeTemporaryFolder();
  const running = runProcess(SCRIPT, [], {
    env: {
      GUARD_OPTIONS: JSON.stringify({ ...rest, server }),
      KEY_FROM_QUERY: keyFromQuery ? "yes" : "",
      NMS_CONFIG: JSON.stringify({
        bind: "127.0.0.1",
        rtmp: { port: rtmpPort },
        http: { port: httpPort },
        store: { path: join(folder, "store") },
        record: { auto: false },
        webadmin: { enable: false },
      }),
    },
  });
  await running.said("ready\n");
  const refusals = () =>
    [...running.stdout().matchAll(/^refused (.*)$/gm)].map((line) => JSON.parse(line[1] as string) as PublishRefusal);
  return {
    rtmpUrl: `rtmp://127.0.0.1:${rtmpPort}/live`,
    httpUrl: `http://127.0.0.1:${httpPort}/live`,
    said: () => running.stdout() + running.stderr(),
    refusals,
    refused: (reason) =>
      waitFor(() => refusals().find((refusal) => refusal.reason === reason), {
        what: `${reason}; it said ${running.stdout()}${running.stderr()}`,
      }),
    async kill() {
      running.child.kill("SIGKILL");
      await running.exited;
    },
    async stop() {
      running.child.kill("SIGTERM");
      await running.exited;
    },
    running: () => running.child.exitCode === null && running.child.signalCode === null,
  };
}
