import { AppError } from "../errors.ts";
import { Allowances } from "../limits/allowances.ts";
import type { SocketGuard } from "./socket-guard.ts";

/*
 * Counts connections, whatever happens to the namespaces on them: by user from the first accepted handshake until the
 * connection closes, and by network as long as nobody is known on it. A connection may ask for a namespace so many times
 * only: each CONNECT packet costs a socket of Socket.IO and a token check, before anybody knows who asks.
 *
 * A connection without a namespace ends after 5 s: when it has said nothing, when it asked and was not let in, and when it
 * left. A client that answers a ping may take longer to ask, up to `connectTimeout` of Socket.IO: a client library that
 * opens the connection first and then asks its page for a token may have to wait for it.
 */

/** A page asks for one or two namespaces. It asks again when its token was refused. */
const CONNECTS = { burst: 10, perSecond: 0.5 };
/** Connections of one network without a user. Each is ended after some seconds, so players that come back need no more. */
const MAX_UNKNOWN_PER_NETWORK = 2000;
/** How long a connection may stay without a namespace. */
const UNUSED_MS = 5000;

/** Engine.IO's socket. The last fields are added here. */
export interface CountedConnection {
  readonly id: string;
  readonly readyState: string;
  /** The network that the connection is counted under. */
  readonly remoteAddress: string;
  prependListener(event: "data", listener: (this: CountedConnection, text: unknown) => void): unknown;
  /** `heartbeat`: the client answered a ping. */
  once(event: "heartbeat", listener: () => void): unknown;
  sendPacket(type: "ping"): unknown;
  on(event: "close", listener: (this: CountedConnection) => void): unknown;
  close(discard: boolean): void;
  /** The users that the connection is counted for; nearly always one. */
  users?: string[];
  /** How often the client asked for a namespace. */
  asks?: number;
  /** Whether it ever got one. */
  hasJoined?: boolean;
}

/** The part of a socket that tells whether its connection is still used. */
interface UsedSocket {
  readonly conn: unknown;
  readonly client: unknown;
}

export class Connections {
  readonly #perUser = new Map<string, number>();
  readonly #unknownPerNetwork = new Map<string, number>();
  /** Both are shared by all connections: closures of its own would cost every idle connection memory. */
  readonly #onData: (this: CountedConnection, text: unknown) => void;
  readonly #onClose: (this: CountedConnection) => void;

  /** `onAskedTooOften` hears of each connection that is closed because it asked for too many namespaces. */
  constructor(onAskedTooOften: () => void = () => undefined) {
    const connects = new Allowances(CONNECTS);
    const close = (connection: CountedConnection) => this.#close(connection);
    this.#onData = function (text) {
      // It runs before Socket.IO reads the packet. Socket.IO reads nothing of a closed connection.
      if (!isConnect(text)) return;
      if (connects.take(this.id) > 0) {
        onAskedTooOften();
        this.close(true);
      } else endUnlessJoined(this);
    };
    this.#onClose = function () {
      close(this);
    };
  }

  /** Whether the network has so many connections without a user that it gets no more. */
  isFull(network: string): boolean {
    return (this.#unknownPerNetwork.get(network) ?? 0) >= MAX_UNKNOWN_PER_NETWORK;
  }

  /** Counts a new connection, whose user is not known. */
  opened(connection: CountedConnection): void {
    add(this.#unknownPerNetwork, connection.remoteAddress, 1);
    endUnlessHeard(connection);
    connection.prependListener("data", this.#onData);
    connection.on("close", this.#onClose);
  }

  /**
   * Counts the connection for the user, until it closes.
   * @throws AppError `rate_limited` where the user has `most` connections, `unavailable` where it is closed already
   */
  identify(connection: CountedConnection, userId: string, most: number): void {
    // A closed connection would never leave, and be counted for ever.
    if (connection.readyState !== "open") throw new AppError("unavailable", "The connection is closed.");
    if (connection.users?.includes(userId)) return;
    if ((this.#perUser.get(userId) ?? 0) >= most) {
      throw new AppError("rate_limited", `A user may have ${most} connections; close one first.`);
    }
    add(this.#perUser, userId, 1);
    if (connection.users === undefined) {
      connection.users = [];
      add(this.#unknownPerNetwork, connection.remoteAddress, -1);
    }
    connection.users.push(userId);
  }

  #close(connection: CountedConnection): void {
    if (connection.users === undefined) add(this.#unknownPerNetwork, connection.remoteAddress, -1);
    else for (const userId of connection.users) add(this.#perUser, userId, -1);
  }
}

/** Ends the connection of a socket that has left its namespace, unless the connection gets another soon. */
export function endUnused(socket: UsedSocket, guard: SocketGuard): void {
  const { conn, client } = socket;
  const connection = conn as CountedConnection;
  if (connection.readyState !== "open") return;
  const { nsps } = client as { nsps: ReadonlyMap<string, unknown> };
  setTimeout(() => {
    if (nsps.size > 0 || connection.readyState !== "open") return;
    guard({ disconnect: () => connection.close(true) }, () => connection.close(true));
  }, UNUSED_MS).unref();
}

/** Ends a new connection that neither asks for a namespace nor answers a ping. */
function endUnlessHeard(connection: CountedConnection): void {
  setTimeout(() => {
    if (connection.asks || connection.readyState !== "open") return;
    let isHeard = false;
    connection.once("heartbeat", () => {
      isHeard = true;
    });
    connection.sendPacket("ping");
    setTimeout(() => {
      if (!isHeard && !connection.asks && connection.readyState === "open") connection.close(true);
    }, UNUSED_MS / 2).unref();
  }, UNUSED_MS / 2).unref();
}

/** Ends a connection that asks for a namespace and does not get it, unless it asks again. */
function endUnlessJoined(connection: CountedConnection): void {
  if (connection.hasJoined) return;
  connection.asks = (connection.asks ?? 0) + 1;
  const { asks } = connection;
  setTimeout(() => {
    if (!connection.hasJoined && connection.asks === asks && connection.readyState === "open") connection.close(true);
  }, UNUSED_MS).unref();
}

const CONNECT = "0".charCodeAt(0);

function isConnect(text: unknown): boolean {
  return typeof text === "string" && text.charCodeAt(0) === CONNECT;
}

function add(counts: Map<string, number>, key: string, change: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
