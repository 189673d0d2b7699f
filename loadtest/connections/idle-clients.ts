import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { Latencies } from "../harness/latency.ts";
import { cpuSeconds } from "../harness/process-cpu.ts";
import { serveCommands } from "../harness/worker.ts";
import { toUserId } from "../load/catalogue.ts";
import { openThinSocket, type ThinSocket } from "./thin-socket.ts";

/*
 * A process of connections that say nothing: they connect, answer pings, and stay.
 */

/** How far a connection goes: a WebSocket and no more, Engine.IO's first packet, a namespace that takes its token. */
export type Depth = "websocket" | "engine" | "namespace";

export interface ConnectIdle {
  url: string;
  depth: Depth;
  secret: string;
  firstUser: number;
  count: number;
  localAddress: string;
  atOnce: number;
}

export interface ConnectedIdle {
  connected: number;
  failed: Record<string, number>;
  seconds: number;
  /** From before its TCP connection until it was let in. */
  latencies: string;
}

const CONNECT_TIMEOUT_MS = 30_000;
const NAMESPACE = "/player";

const open = new Set<ThinSocket>();
let lost = 0;
let isClosing = false;

async function connect(plan: ConnectIdle): Promise<ConnectedIdle> {
  // Before the clock starts: whoever logs in does that elsewhere.
  const auths = plan.depth === "namespace" ? await mintAll(plan) : [];
  const latencies = new Latencies();
  const failed: Record<string, number> = {};
  let [next, connected] = [0, 0];
  const startedAt = performance.now();
  const connectSome = async () => {
    while (next < plan.count) {
      const auth = auths[next++] ?? "";
      const from = performance.now();
      const failure = await connectOne(plan, auth);
      if (failure === null) {
        connected += 1;
        latencies.add(performance.now() - from);
      } else failed[failure] = (failed[failure] ?? 0) + 1;
    }
  };
  await Promise.all(Array.from({ length: plan.atOnce }, connectSome));
  return { connected, failed, seconds: (performance.now() - startedAt) / 1000, latencies: latencies.encode() };
}

async function mintAll({ secret, firstUser, count }: ConnectIdle): Promise<string[]> {
  const tokens = createBuiltinTokens({ secret, ttlSeconds: 7200 });
  const auths: string[] = [];
  for (let user = firstUser; user < firstUser + count; user++) {
    const { token } = await tokens.mint({ userId: toUserId(user), role: "learner" });
    auths.push(JSON.stringify({ token }));
  }
  return auths;
}

/** Null where it was let in, else why not. */
function connectOne({ url, depth, localAddress }: ConnectIdle, auth: string): Promise<string | null> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      resolve("no answer in time");
      socket.close();
    }, CONNECT_TIMEOUT_MS);
    const letIn = () => {
      clearTimeout(timer);
      open.add(socket);
      resolve(null);
    };
    const socket = openThinSocket({
      url: new URL(depth === "websocket" ? "/" : "/socket.io/?EIO=4&transport=websocket", url),
      localAddress,
      ...(depth === "websocket" ? { onOpen: letIn } : {}),
      onText(text) {
        if (text === "2") socket.send("3");
        else if (text.startsWith("0")) {
          if (depth === "engine") letIn();
          else socket.send(`40${NAMESPACE},${auth}`);
        } else if (text.startsWith(`40${NAMESPACE},`)) letIn();
        else if (text.startsWith(`44${NAMESPACE},`)) {
          resolve(`refused: ${text.slice(0, 200)}`);
          socket.close();
        }
      },
      onClose(reason) {
        clearTimeout(timer);
        if (open.delete(socket) && !isClosing) lost += 1;
        resolve(reason);
      },
    });
  });
}

/** How many are open, and how many were lost since they were let in. */
function count(): { open: number; lost: number } {
  return { open: open.size, lost };
}

async function close(): Promise<void> {
  isClosing = true;
  for (const socket of open) socket.close();
  while (open.size > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  isClosing = false;
}

serveCommands({ connect, count, cpuSeconds, close });
