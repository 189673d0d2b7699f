import type { Namespace, Socket } from "socket.io";
import type { Outlet, Subscriber } from "../live/hub/outlet.ts";
import type { TemplatedApp } from "../uws/uws.ts";
import { bufferedBytes } from "./buffered-bytes.ts";

/*
 * The way out of frames, by the sockets of one namespace. Socket.IO on uWebSockets.js subscribes a socket that joins a
 * room natively. So a frame is published as bytes, past Socket.IO's adapter: the adapter would go through all members
 * again at each frame, to find those that poll.
 */

/** How Socket.IO names a room of a namespace to uWebSockets.js (socket.io/lib/uws.ts). */
const SEPARATOR = "\x1f";

/** What is used of a Socket.IO socket, whatever events it is typed for. */
type AnySocket = Pick<Socket, "id" | "connected" | "conn" | "join" | "leave" | "disconnect"> & {
  emit(event: string, payload: never): unknown;
};

export class SocketOutlet implements Outlet {
  readonly #app: Pick<TemplatedApp, "publish">;
  readonly #topicPrefix: string;
  readonly #packetHead: string;
  /** Sockets that joined while they polled, by topic: uWebSockets.js does not know them. */
  readonly #polling = new Map<string, Set<AnySocket>>();

  constructor(app: Pick<TemplatedApp, "publish">, { name }: Pick<Namespace, "name">) {
    this.#app = app;
    this.#topicPrefix = `${name}${SEPARATOR}`;
    this.#packetHead = `2${name},["update",`;
  }

  broadcast(topic: string, update: string): void {
    this.#app.publish(this.#topicPrefix + topic, `4${this.#packetHead}${update}]`);
    if (this.#polling.size > 0) this.#sendToPolling(topic, update);
  }

  send(socket: AnySocket, update: string): void {
    if (socket.connected) socket.conn.write(`${this.#packetHead}${update}]`);
  }

  join(socket: AnySocket, topic: string): void {
    if (!socket.connected) return;
    void socket.join(topic);
    if (socket.conn.transport.name === "websocket") return;
    this.#polling.set(topic, (this.#polling.get(topic) ?? new Set()).add(socket));
  }

  leave(socket: AnySocket, topic: string): void {
    // Socket.IO has taken a socket that is disconnected out of its rooms.
    if (socket.connected) void socket.leave(topic);
    const sockets = this.#polling.get(topic);
    if (sockets?.delete(socket) && sockets.size === 0) this.#polling.delete(topic);
  }

  #sendToPolling(topic: string, update: string): void {
    for (const socket of this.#polling.get(topic) ?? []) {
      // When a socket is upgraded, Socket.IO subscribes it natively, with all its rooms.
      if (!socket.connected || socket.conn.transport.name === "websocket") this.#polling.get(topic)?.delete(socket);
      else this.send(socket, update);
    }
  }
}

/** A socket as the hub serves it. */
export class SocketSubscriber implements Subscriber {
  readonly #outlet: SocketOutlet;
  readonly #socket: AnySocket;

  constructor(outlet: SocketOutlet, socket: AnySocket) {
    this.#outlet = outlet;
    this.#socket = socket;
  }

  get id(): string {
    return this.#socket.id;
  }

  join(topic: string): void {
    this.#outlet.join(this.#socket, topic);
  }

  leave(topic: string): void {
    this.#outlet.leave(this.#socket, topic);
  }

  send(update: string): void {
    this.#outlet.send(this.#socket, update);
  }

  bufferedBytes(): number {
    const { connected, conn } = this.#socket;
    return connected ? bufferedBytes(conn) : 0;
  }

  disconnect(reason: string): void {
    this.#socket.emit("server:disconnect", { code: reason } as never);
    this.#socket.disconnect(true);
  }
}
