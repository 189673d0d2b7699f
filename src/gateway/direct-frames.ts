import type { TemplatedApp, WebSocket } from "../uws/uws.ts";
import type { CallTable, GatewaySocket } from "./call.ts";
import type { SocketGuard } from "./socket-guard.ts";

/*
 * Reads and writes the frames of frequent calls itself, past Socket.IO's layers: these layers cost three times as much
 * as the rest of a heartbeat. The bytes are Socket.IO's own, and the calls go through the call table (call.ts) like all
 * others.
 *
 *   42/player,17["heartbeat",{…}]   ──▶   43/player,17[{"ok":true,…}]
 *
 * Every frame of another form is left to Socket.IO: polling, other events, several arguments, JSON that does not parse,
 * and frames of a socket that has left its namespace. So is the first frame after a ping, because by it Engine.IO knows
 * that the connection lives.
 * https://socket.io/docs/v4/socket-io-protocol/#packet-encoding
 */

/** The user data of a uWebSockets.js socket: Engine.IO's transport, and the connection that this file adds. */
interface UserData {
  transport: { onData(text: string): void };
  direct?: DirectConnection;
}

/** Engine.IO's socket. Not public are the two fields that say whether it waits for a sign of life, and whether one came. */
interface EngineConnection {
  readyState: string;
  pingTimeoutTimer: unknown;
  hasRefreshedPingTimeout?: boolean;
  transport: { name: string; socket?: WebSocket<UserData> };
  once(event: "upgrade", listener: () => void): void;
}

interface DirectConnection {
  socket: GatewaySocket;
  conn: EngineConnection;
  frames: NamespaceFrames;
  /** Acks that are sent at the end of the turn. Null until the socket has had some. */
  acks: string[] | null;
}

/** No client counts its calls further than this. */
const MAX_ID_DIGITS = 9;
const ZERO = "0".charCodeAt(0);
const NINE = "9".charCodeAt(0);
const BRACKET = "]".charCodeAt(0);

/** Reads the frames of an app before Socket.IO does. Call it before Socket.IO is attached to the app. */
export function readDirectFrames(app: TemplatedApp, guard: SocketGuard): void {
  const open = app.ws.bind(app) as TemplatedApp["ws"];
  app.ws = ((path, behavior) =>
    open<UserData>(path, {
      ...(behavior as object),
      message(ws: WebSocket<UserData>, message: ArrayBuffer, isBinary: boolean) {
        const { transport, direct } = ws.getUserData();
        try {
          if (isBinary || direct === undefined) {
            behavior.message?.(ws as never, message, isBinary);
            return;
          }
          const text = Buffer.from(message).toString();
          if (!direct.frames.take(direct, text)) transport.onData(text);
        } catch (error) {
          // Not around it all: that would cost a closure a frame.
          guard(direct?.socket ?? { disconnect: () => ws.close() }, () => {
            throw error;
          });
        }
      },
    })) as TemplatedApp["ws"];
}

export interface NamespaceFramesOptions {
  /**
   * Sends all acks of one turn to a socket in one write, under this guard: worth it where a socket has many calls under
   * way that are answered together. Null, the default: each ack is sent at once.
   */
  gathersAcks?: SocketGuard | null;
}

/** Serves the frames of one frequent event of one namespace. */
export class NamespaceFrames {
  readonly #table: CallTable;
  readonly #eventPrefix: string;
  readonly #ackPrefix: string;
  readonly #event: string;
  readonly #head: string;
  readonly #gathersAcks: SocketGuard | null;

  constructor(namespace: string, event: string, table: CallTable, { gathersAcks = null }: NamespaceFramesOptions = {}) {
    this.#table = table;
    this.#gathersAcks = gathersAcks;
    this.#eventPrefix = `42${namespace},`;
    this.#ackPrefix = `43${namespace},`;
    this.#event = event;
    this.#head = `[${JSON.stringify(event)},`;
  }

  /** Reads the frames of a socket from now on. */
  serve(socket: GatewaySocket): void {
    const conn = socket.conn as unknown as EngineConnection;
    const attach = () => {
      const data = conn.transport.socket?.getUserData?.();
      if (data !== undefined) data.direct = { socket, conn, frames: this, acks: null };
    };
    if (conn.transport.name === "websocket") attach();
    else conn.once("upgrade", attach);
  }

  /** @returns whether the frame was a call of this event; otherwise it is Socket.IO's to read */
  take(direct: DirectConnection, text: string): boolean {
    const { socket, conn } = direct;
    if (!text.startsWith(this.#eventPrefix)) return false;
    const idFrom = this.#eventPrefix.length;
    let at = idFrom;
    let id = 0;
    for (let code = text.charCodeAt(at); code >= ZERO && code <= NINE; code = text.charCodeAt(at)) {
      id = id * 10 + code - ZERO;
      at += 1;
    }
    if (at === idFrom || at - idFrom > MAX_ID_DIGITS) return false;
    if (!text.startsWith(this.#head, at) || text.charCodeAt(text.length - 1) !== BRACKET) return false;
    if (!socket.connected || conn.readyState !== "open") return false;
    if (conn.pingTimeoutTimer !== null && conn.hasRefreshedPingTimeout !== true) return false;
    let payload: unknown;
    try {
      payload = JSON.parse(text.slice(at + this.#head.length, -1));
    } catch {
      return false;
    }
    this.#table.take(socket, this.#event, payload, (answer) => {
      // Like Socket.IO, it drops the ack of a socket that has left.
      if (!socket.connected || conn.readyState !== "open") return;
      const ack = `${this.#ackPrefix}${id}[${JSON.stringify(answer)}]`;
      if (this.#gathersAcks !== null) gather(direct, ack, this.#gathersAcks);
      else conn.transport.socket?.send(ack, false, false);
    });
    return true;
  }
}

function gather(direct: DirectConnection, ack: string, guard: SocketGuard): void {
  const { conn, socket } = direct;
  direct.acks ??= [];
  const { acks } = direct;
  acks.push(ack);
  if (acks.length > 1) return;
  setImmediate(() => {
    const gathered = acks.splice(0);
    guard(socket, () => {
      const native = conn.transport.socket;
      if (!socket.connected || conn.readyState !== "open") return;
      native?.cork(() => {
        for (const waiting of gathered) native.send(waiting, false, false);
      });
    });
  });
}
