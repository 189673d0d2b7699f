import { setTimeout as pause } from "node:timers/promises";
import { Latencies } from "../harness/latency.ts";
import { serveCommands } from "../harness/worker.ts";
import { BOOT, MEDIA_SERVERS, type Streams, serverOf, toServerName, toStreamKey } from "./keys.ts";
import { type MediaServerSocket, openMediaServerSocket } from "./media-server-socket.ts";
import { sendOnTime } from "./send-on-time.ts";

/*
 * Media servers, a connection each, in a process: they ask for the streams of a range, one after the other.
 */

/** What is asked, and how fast. */
export interface ValidateLoad {
  streams: Streams;
  /** Names the encoder's connection: another one is another encoder. */
  connectionPrefix: string;
  /** Closed loop: so many under way. */
  underWay?: number;
  /** Open loop: so many a second. */
  perSecond?: number;
  /** So many wrong keys a second beside them, no two alike. */
  wrongPerSecond?: number;
  /** Without it every stream is asked for once. */
  seconds?: number;
}

export interface ValidateResult {
  /** Closed loop: within the window. Open loop: due within it, however late. Of right keys. */
  answered: number;
  seconds: number;
  latencies: string;
  /** By answer: `valid`, why not, or an error's code. */
  outcomes: Record<string, number>;
  wrong: { answered: number; latencies: string; outcomes: Record<string, number> };
  cpuSeconds: number;
  /** The latest that a call of the open loop was sent after its time. */
  lateMs: number;
}

interface Call {
  dueAt: number;
  isWrong: boolean;
}

const VALID = '[{"ok":true,"valid":true';
const LAST_ANSWERS_MS = 5000;
const WRONG_ADDRESSES = 1000;

const servers: MediaServerSocket[] = [];
const calls = new Map<number, Call>();
let ids = 0;
let wrongKeys = 0;
let closed = 0;
let onAnswer: (call: Call, text: string) => void = () => undefined;

async function connect({ port, secret }: { port: number; secret: string }): Promise<void> {
  for (let server = 0; server < MEDIA_SERVERS; server++) {
    servers.push(
      await openMediaServerSocket({
        port,
        auth: { secret, server: toServerName(server), boot: BOOT },
        onClose: () => {
          closed += 1;
        },
        onAnswer(id, text) {
          const call = calls.get(id);
          calls.delete(id);
          if (call !== undefined) onAnswer(call, text);
        },
      }),
    );
  }
}

function ask(server: number, call: Call, given: { streamKey: string; connectionId: string; clientIp: string }): void {
  const id = ids++ % 1_000_000;
  calls.set(id, call);
  servers[server]?.call(
    id,
    `{"streamKey":"${given.streamKey}","connectionId":"${given.connectionId}","app":"live","clientIp":"${given.clientIp}","protocol":"rtmp"}`,
  );
}

function askForWrong(dueAt: number): void {
  const n = wrongKeys++;
  const address = n % WRONG_ADDRESSES;
  ask(
    n % MEDIA_SERVERS,
    { dueAt, isWrong: true },
    {
      streamKey: `phk_wrong${String(n).padStart(31, "0")}`,
      connectionId: `w${n}`,
      clientIp: `198.51.${address >> 8}.${address & 255}`,
    },
  );
}

async function load(plan: ValidateLoad): Promise<ValidateResult> {
  const { streams, connectionPrefix, seconds = Number.POSITIVE_INFINITY } = plan;
  const latencies = new Latencies();
  const wrongLatencies = new Latencies();
  const outcomes: Record<string, number> = {};
  const wrongOutcomes: Record<string, number> = {};
  let [asked, answered, wrongAnswered, lastAt, lateMs] = [0, 0, 0, 0, 0];
  calls.clear();
  const startAt = performance.now();
  const until = startAt + seconds * 1000;
  const isClosedLoop = plan.perSecond === undefined;
  const cpu = process.cpuUsage();
  const askForNext = (dueAt: number): void => {
    const stream = streams.from + (asked++ % streams.count);
    ask(
      serverOf(stream),
      { dueAt, isWrong: false },
      {
        streamKey: toStreamKey(stream),
        connectionId: `${connectionPrefix}${stream}`,
        clientIp: "192.0.2.7",
      },
    );
  };
  const hasMore = (now: number) => (seconds === Number.POSITIVE_INFINITY ? asked < streams.count : now < until);
  onAnswer = ({ dueAt, isWrong }, text) => {
    const now = performance.now();
    const outcome = text.startsWith(VALID) ? "valid" : outcomeOf(text);
    if (isWrong) {
      wrongAnswered += 1;
      wrongLatencies.add(now - dueAt);
      wrongOutcomes[outcome] = (wrongOutcomes[outcome] ?? 0) + 1;
      return;
    }
    outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    if (!isClosedLoop || now < until) {
      answered += 1;
      latencies.add(now - dueAt);
      lastAt = now;
    }
    if (isClosedLoop && hasMore(now)) askForNext(now);
  };
  if (isClosedLoop) {
    for (let i = 0; i < (plan.underWay ?? 1) && hasMore(startAt); i++) askForNext(performance.now());
    if (seconds === Number.POSITIVE_INFINITY) while (answered < streams.count && closed === 0) await pause(5);
    else await pause(until - performance.now());
  } else {
    const openUntil = Number.isFinite(until) ? until : startAt + (streams.count / (plan.perSecond ?? 1)) * 1000;
    const flows = [{ perSecond: plan.perSecond ?? 0, send: askForNext }];
    if (plan.wrongPerSecond !== undefined) flows.push({ perSecond: plan.wrongPerSecond, send: askForWrong });
    lateMs = await sendOnTime(flows, openUntil);
  }
  const { user, system } = process.cpuUsage(cpu);
  const giveUpAt = performance.now() + LAST_ANSWERS_MS;
  while (calls.size > 0 && performance.now() < giveUpAt) await pause(5);
  if (calls.size > 0) outcomes["no answer"] = calls.size;
  if (closed > 0) outcomes["connection closed"] = closed;
  return {
    answered,
    seconds: Number.isFinite(seconds) ? seconds : (lastAt - startAt) / 1000,
    latencies: latencies.encode(),
    outcomes,
    wrong: { answered: wrongAnswered, latencies: wrongLatencies.encode(), outcomes: wrongOutcomes },
    cpuSeconds: (user + system) / 1e6,
    lateMs,
  };
}

function outcomeOf(text: string): string {
  return /"(?:reason|code)":"(\w+)"/.exec(text)?.[1] ?? "other";
}

serveCommands({ connect, load });
