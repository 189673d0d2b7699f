import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { systemClock } from "../../src/client/clock.ts";
import { createConnection } from "../../src/client/connection.ts";
import { serveCommands } from "../harness/worker.ts";
import { DURATION_SECONDS, toFileId, toUserId, watchedBy } from "../load/catalogue.ts";
import { openThinSocket, type ThinSocket } from "./thin-socket.ts";

/*
 * Players that come back when their server dies: the SDK's own connections, and many more that keep to the same
 * schedule over sockets of little cost. Each sends one heartbeat when it is in, until one is acked.
 */

export interface StormClients {
  url: string;
  secret: string;
  firstUser: number;
  count: number;
  kind: "sdk" | "raw";
  shape: { courses: number; files: number };
  localAddress: string;
}

export interface StormReport {
  /** When each client was let in again, and when its heartbeat was acked, in ms since 1970; null where it was not. */
  back: ({ connectedAt: number; ackedAt: number } | null)[];
  attempts: number;
  /** What an attempt or a heartbeat was answered with, other than what was asked for. */
  refused: Record<string, number>;
}

/** Of src/client/connection.ts, which hands the first two to Socket.IO's client. */
const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 15_000;
const FIRST_REFUSED_MS = 1000;
const LAST_REFUSED_MS = 30_000;
/** Of socket.io-client's Manager. */
const FACTOR = 2;
const JITTER = 0.5;
const CONNECTING_AT_ONCE = 50;
const CONNECT_TIMEOUT_MS = 20_000;

interface Client {
  connectedAt: number | null;
  ackedAt: number | null;
  isIn: boolean;
  close(): void;
}

type Ack = { ok: true } | { ok: false; error: { code: string; retryAfterMs?: number } };

const clients: Client[] = [];
let refused: Record<string, number> = {};
let attempts = 0;

async function connect(plan: StormClients): Promise<void> {
  const tokens = createBuiltinTokens({ secret: plan.secret, ttlSeconds: 3600 });
  let next = plan.firstUser;
  const connectSome = async () => {
    while (next < plan.firstUser + plan.count) {
      const user = next++;
      const { token } = await tokens.mint({ userId: toUserId(user), role: "learner" });
      const { course, file } = watchedBy(user, plan.shape);
      const fileId = toFileId(course, file);
      const client = plan.kind === "sdk" ? openSdk(plan.url, token, fileId) : openRaw(plan, token, fileId);
      clients.push(client);
      while (client.ackedAt === null) await pause(10);
    }
  };
  await Promise.all(Array.from({ length: CONNECTING_AT_ONCE }, connectSome));
}

function toBeat(fileId: string): { fileId: string; position: number; played: number[][] } {
  const position = Math.floor(Math.random() * (DURATION_SECONDS - 1));
  return { fileId, position, played: [[position, position + 1]] };
}

/** The SDK's connection, as a player uses it. */
function openSdk(url: string, token: string, fileId: string): Client {
  const connection = createConnection({ clock: systemClock }, { url, namespace: "/player", token });
  const client: Client = { connectedAt: null, ackedAt: null, isIn: false, close: () => connection.close() };
  const beat = async (failures: number): Promise<void> => {
    const ack = (await connection.call("heartbeat", toBeat(fileId))) as Ack | null;
    if (!client.isIn) return;
    if (ack?.ok) client.ackedAt ??= now();
    else {
      count(ack === null ? "no ack" : `beat ${ack.error.code}`);
      setTimeout(() => void beat(failures + 1), (ack?.error.retryAfterMs ?? 0) || refusedDelayMs(failures)); // never rejects
    }
  };
  connection.onState((state) => {
    client.isIn = state === "online";
    if (state === "connecting") attempts += 1;
    if (!client.isIn) return;
    client.connectedAt ??= now();
    void beat(0); // never rejects
  });
  return client;
}

/** The same rules over a bare socket. */
function openRaw({ url, localAddress }: StormClients, token: string, fileId: string): Client {
  let socket: ThinSocket | null = null;
  let isClosed = false;
  let [failures, refusals] = [0, 0];
  const client: Client = {
    connectedAt: null,
    ackedAt: null,
    isIn: false,
    close() {
      isClosed = true;
      socket?.close();
    },
  };

  function open(): void {
    if (isClosed) return;
    attempts += 1;
    let retryMs: number | null = null;
    const timer = setTimeout(() => socket?.close(), CONNECT_TIMEOUT_MS);
    const beat = () => socket?.send(`42/player,1["heartbeat",${JSON.stringify(toBeat(fileId))}]`);
    socket = openThinSocket({
      url: new URL("/socket.io/?EIO=4&transport=websocket", url),
      localAddress,
      onText(text) {
        if (text === "2") socket?.send("3");
        else if (text.startsWith("0")) socket?.send(`40/player,${JSON.stringify({ token })}`);
        else if (text.startsWith("40/player,")) {
          clearTimeout(timer);
          [failures, refusals] = [0, 0];
          client.isIn = true;
          client.connectedAt ??= now();
          beat();
        } else if (text.startsWith("43/player,1")) {
          const [ack] = JSON.parse(text.slice("43/player,1".length)) as [Ack];
          if (ack.ok) client.ackedAt ??= now();
          else {
            count(`beat ${ack.error.code}`);
            setTimeout(beat, ack.error.retryAfterMs ?? refusedDelayMs(refusals++));
          }
        } else if (text.startsWith("44/player,")) {
          const { data } = JSON.parse(text.slice("44/player,".length)) as {
            data?: { code?: string; retryAfterMs?: number };
          };
          count(`handshake ${data?.code ?? "refused"}`);
          retryMs = data?.retryAfterMs ?? refusedDelayMs(refusals++);
          socket?.close();
        }
      },
      onClose(reason) {
        clearTimeout(timer);
        if (!client.isIn && retryMs === null) count(reason);
        client.isIn = false;
        setTimeout(open, retryMs ?? reconnectDelayMs(failures++));
      },
    });
  }

  open();
  return client;
}

/** As backo2, which socket.io-client waits by. */
function reconnectDelayMs(failures: number): number {
  const base = FIRST_DELAY_MS * FACTOR ** failures;
  const deviation = Math.floor(Math.random() * JITTER * base);
  return Math.min(LAST_DELAY_MS, Math.random() < 0.5 ? base - deviation : base + deviation);
}

/** As connection.ts waits after a refusal, and delivery.ts. */
function refusedDelayMs(refusals: number): number {
  return Math.min(LAST_REFUSED_MS, FIRST_REFUSED_MS * 2 ** refusals) * (0.5 + Math.random() / 2);
}

function count(what: string): void {
  refused[what] = (refused[what] ?? 0) + 1;
}

/** From now on it is counted who is back. */
function forget(): void {
  refused = {};
  attempts = 0;
  for (const client of clients) [client.connectedAt, client.ackedAt] = [null, null];
}

function countBack(): number {
  return clients.filter(({ ackedAt }) => ackedAt !== null).length;
}

function report(): StormReport {
  const back = clients.map(({ connectedAt, ackedAt }) =>
    connectedAt === null || ackedAt === null ? null : { connectedAt, ackedAt },
  );
  return { back, attempts, refused };
}

function close(): void {
  for (const client of clients.splice(0)) client.close();
}

function now(): number {
  return performance.timeOrigin + performance.now();
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

serveCommands({ connect, forget, countBack, report, close });
