import { AppError } from "../errors.ts";
import { Allowances } from "../limits/allowances.ts";
import type { SocketGuard } from "./socket-guard.ts";

/*
 * Counts connections, whatever happens to the namespaces on them: by user from the first accepted handshake until the
 * connection closes, and by network as long as nobody is known on it. A connection may ask for a namespace so many times
 * only: each CONNECT packet costs a socket of Socket.IO and a token check, before anybody knows who asks.
 */

/** A page asks for one or two namespaces. It asks again when its token was refused. */
const CONNECTS = { burst: 10, perSecond: 0.5 };
/** Connections of one network without a user. Each is ended after some seconds, so players that come back need no more. */
const MAX_UNKNOWN_PER_NETWORK = 2000;
/** How long a connection may stay that has left its last namespace. */
const UNUSED_MS = 5000;

/** Engine.IO's socket. The last two fields are added here. */
export interface CountedConnection {
  readonly id: string;
  readonly readyState: string;
  /** The network that the connection is counted under. */
  readonly remoteAddress: string;
  prependListener(event: "data", listener: (this: CountedConnection, text: unknown) => void): unknown;
  on(event: "close", listener: (this: CountedConnection) => void): unknown;
  close(discard: boolean): void;
  /** The users that the connection is counted for; nearly always one. */
  users?: string[];
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
      if (!isConnect(text) || connects.take(this.id) === 0) return;
      onAskedTooOften();
      this.close(true);
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

const CONNECT = "0".charCodeAt(0);

function isConnect(text: unknown): boolean {
  return typeof text === "string" && text.charCodeAt(0) === CONNECT;
}

function add(counts: Map<string, number>, key: string, change: 1 | -1): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count > 0) counts.set(key, count);
  else counts.delete(key);
}
