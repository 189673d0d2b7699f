import { serveCommands } from "../harness/child-process.ts";
import { type Answered, type LoadPlan, type LoadResult, runLoad } from "../harness/load.ts";
import { openSocketIo, type SocketIoClient } from "../load/socketio-client.ts";
import { BOOT, MEDIA_SERVERS, type Streams, serverOf, toServerName, toStreamKey, UNDER_WAY } from "./stream-tables.ts";

/*
 * A process of media servers, with a connection each. They check the keys of a range of streams, one after another.
 */

export interface ConnectMediaServers {
  url: string;
  secret: string;
}

export interface ChecksPlan extends LoadPlan {
  streams: Streams;
  /** The encoder connections that the checks name: those that publish the streams, or new ones. */
  connections: "own" | "other";
  /** Adds an open loop of wrong keys at this rate. No two are equal. */
  wrongPerSecond?: number;
}

const VALID = '"valid":true';
const WRONG_ADDRESSES = 1000;
/** A refusal counts as done too. The notes tell the number of each outcome. */
const isAnswer = () => true;

const servers: SocketIoClient[] = [];
let wrongKeys = 0;
let closed = 0;
/** The JSON of an answer. */
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
  // The CPU of the process went into both loads.
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
