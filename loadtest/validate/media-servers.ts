import { serveCommands } from "../harness/child-process.ts";
import { type Answered, type LoadPlan, type LoadResult, runLoad } from "../harness/load.ts";
import { openSocketIo, type SocketIoClient } from "../load/socketio-client.ts";
import { BOOT, MEDIA_SERVERS, type Streams, serverOf, toServerName, toStreamKey, UNDER_WAY } from "./stream-tables.ts";

/*
 * Media servers, a connection each, in one process: they ask for the streams of a range, one after the other.
 */

export interface ConnectMediaServers {
  url: string;
  secret: string;
}

export interface ChecksPlan extends LoadPlan {
  streams: Streams;
  /** Names the encoders' connections: other connections are other encoders. */
  connections: "own" | "other";
  /** Adds an open loop of wrong keys, so many a second, no two alike. */
  wrongPerSecond?: number;
}

const VALID = '"valid":true';
const WRONG_ADDRESSES = 1000;
/** A refusal is an answer as well: the notes tell how many of each there were. */
const isAnswer = () => true;

const servers: SocketIoClient[] = [];
let wrongKeys = 0;
let closed = 0;
/** JSON. */
let lastAnswer = "";

async function connect({ url, secret }: ConnectMediaServers): Promise<void> {
  for (let server = 0; server < MEDIA_SERVERS; server++) {
    const auth = { secret, server: toServerName(server), boot: BOOT };
    const onClose = () => {
      closed += 1;
    };
    servers.push(await openSocketIo({ url, namespace: "/rtmp", auth, onClose }));
  }
}

async function load({ streams, connections, wrongPerSecond, ...plan }: ChecksPlan): Promise<LoadResult> {
  const prefix = connections === "own" ? "c" : "d";
  let asked = 0;
  const askNext = (_: number, answered: Answered) => {
    const stream = streams.from + (asked++ % streams.count);
    ask(serverOf(stream), [toStreamKey(stream), `${prefix}${stream}`, "192.0.2.7"], answered);
  };
  const askWrong = (_: number, answered: Answered) => {
    const n = wrongKeys++;
    const address = n % WRONG_ADDRESSES;
    const streamKey = `phk_wrong${String(n).padStart(31, "0")}`;
    ask(n % MEDIA_SERVERS, [streamKey, `w${n}`, `198.51.${address >> 8}.${address & 255}`], answered);
  };
  const [right, wrong] = await Promise.all([
    runLoad(plan, UNDER_WAY, askNext, isAnswer),
    wrongPerSecond === undefined ? null : runLoad({ ...plan, ratePerSecond: wrongPerSecond }, 1, askWrong, isAnswer),
  ]);
  if (closed > 0) right.outcomes["connection closed"] = closed;
  // The process's CPU was spent on both.
  return wrong === null ? right : { ...right, work: right.work + wrong.work, beside: wrong };
}

function ask(server: number, [streamKey, connectionId, clientIp]: [string, string, string], answered: Answered): void {
  servers[server]?.call(
    "stream:validate",
    `{"streamKey":"${streamKey}","connectionId":"${connectionId}","app":"live","clientIp":"${clientIp}","protocol":"rtmp"}`,
    (json) => {
      lastAnswer = json;
      answered(json.includes(VALID) ? "valid" : (/"(?:reason|code)":"(\w+)"/.exec(json)?.[1] ?? "other"));
    },
  );
}

serveCommands({ connect, load, sampleAnswer: () => lastAnswer });
