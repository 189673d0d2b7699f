import { EventEmitter, once } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { serveCommands } from "../harness/child-process.ts";
import { doAtOnce } from "../harness/load.ts";
import { type Counts, tally } from "../harness/statistics.ts";
import { createMint, DURATION_SECONDS, type Shape, toFileId, toUserId, watchedBy } from "../load/catalogue.ts";
import { HandshakeRefused, openSocketIo, type SocketIoClient } from "../load/socketio-client.ts";

/*
 * Players that reconnect after their server died, at the times of the client library. After the connect a player sends
 * heartbeats until one is acked.
 */

export interface ConnectStorm {
  url: string;
  secret: string;
  shape: Shape;
  firstUser: number;
  count: number;
}

export interface StormReport {
  /** Times of the reconnects, and of the first acks after them, in ms since 1970. */
  connectedAt: number[];
  ackedAt: number[];
  attempts: number;
  /** Failures of attempts and heartbeats, by their text. */
  refused: Counts;
}

/** The delays of src/client/connection.ts, src/client/delivery.ts and socket.io-client. */
const FIRST_DELAY_MS = 500;
const LAST_DELAY_MS = 15_000;
const FIRST_REFUSED_MS = 1000;
const LAST_REFUSED_MS = 30_000;
/** One address has about 28,000 ports. */
const ADDRESSES = 4;

class Client {
  readonly #fileId: string;
  connectedAt: number | null = null;
  ackedAt: number | null = null;

  constructor(fileId: string) {
    this.#fileId = fileId;
  }

  /** Connects, sends heartbeats, and reconnects after each close. Never ends, never rejects. */
  async run({ url, localAddress, token }: { url: string; localAddress: string; token: string }): Promise<never> {
    for (let [failures, refusals] = [0, 0]; ; ) {
      attempts += 1;
      try {
        const closed = new EventEmitter();
        const onClose = () => closed.emit("close");
        const socket = await openSocketIo({ url, namespace: "/player", auth: { token }, localAddress, onClose });
        [failures, refusals] = [0, 0];
        this.connectedAt ??= now();
        this.#beat(socket, 0);
        await once(closed, "close");
        await pause(delayMs(failures++));
      } catch (error) {
        const isRefused = error instanceof HandshakeRefused;
        tally(refused, isRefused ? `handshake ${error.data.code}` : (error as Error).message);
        await pause(isRefused ? (error.data.retryAfterMs ?? refusedDelayMs(refusals++)) : delayMs(failures++));
      }
    }
  }

  #beat(socket: SocketIoClient, refusals: number): void {
    const position = Math.floor(Math.random() * (DURATION_SECONDS - 1));
    const beat = { fileId: this.#fileId, position, played: [[position, position + 1]] };
    socket.call("heartbeat", JSON.stringify(beat), (json) => {
      const [{ error }] = JSON.parse(json) as [{ error?: { code: string; retryAfterMs?: number } }];
      if (error === undefined) {
        this.ackedAt ??= now();
        return;
      }
      tally(refused, `beat ${error.code}`);
      setTimeout(() => this.#beat(socket, refusals + 1), error.retryAfterMs ?? refusedDelayMs(refusals));
    });
  }
}

const clients: Client[] = [];
let refused: Counts = {};
let attempts = 0;

async function connect({ url, secret, shape, firstUser, count }: ConnectStorm): Promise<void> {
  const mint = createMint(secret);
  await doAtOnce(count, async (i) => {
    const user = firstUser + i;
    const { course, file } = watchedBy(user, shape);
    const client = new Client(toFileId(course, file));
    clients.push(client);
    void client.run({ url, localAddress: `127.0.0.${10 + (i % ADDRESSES)}`, token: await mint(toUserId(user)) });
    while (client.ackedAt === null) await pause(10);
  });
}

/** A random delay, up to half as much more or less, as in socket.io-client. */
function delayMs(failures: number): number {
  return Math.min(LAST_DELAY_MS, FIRST_DELAY_MS * 2 ** failures * (0.5 + Math.random()));
}

function refusedDelayMs(refusals: number): number {
  return Math.min(LAST_REFUSED_MS, FIRST_REFUSED_MS * 2 ** refusals) * (0.5 + Math.random() / 2);
}

/** Starts the report anew: from now on it tells the reconnects. */
function forget(): void {
  refused = {};
  attempts = 0;
  for (const client of clients) [client.connectedAt, client.ackedAt] = [null, null];
}

function report(): StormReport {
  const known = (times: (number | null)[]) => times.filter((time) => time !== null);
  return {
    connectedAt: known(clients.map(({ connectedAt }) => connectedAt)),
    ackedAt: known(clients.map(({ ackedAt }) => ackedAt)),
    attempts,
    refused,
  };
}

function now(): number {
  return performance.timeOrigin + performance.now();
}

serveCommands({ connect, forget, report });
