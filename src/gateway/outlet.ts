import type { Namespace, Socket } from "socket.io";
import type { Outlet } from "../live/outlet.ts";
import type { TemplatedApp, WebSocket } from "../uws/uws.ts";

/** How Socket.IO names a room of a namespace to uWebSockets.js (socket.io/lib/uws.ts). */
const SEPARATOR = "\x1f";

/**
 * Sends frames to the sockets of one namespace. Socket.IO on uWebSockets.js subscribes a socket that joins a room natively.
 * So a frame is published as bytes, past Socket.IO's adapter, which for every frame would also go through all members to
 * find those that poll.
 */
export function createOutlet(app: Pick<TemplatedApp, "publish">, namespace: Namespace): Outlet {
  const { name } = namespace;
  const packetOf = (update: string) => `2${name},["update",${update}]`;
  /** By topic, the sockets that joined while they polled: they are not subscribed natively. */
  const polling = new Map<string, Set<Socket>>();

  function sendToPolling(topic: string, update: string): void {
    for (const socket of polling.get(topic) ?? []) {
      // When a socket is upgraded to WebSocket, Socket.IO subscribes it to all its rooms natively.
      if (!socket.connected || socket.conn.transport.name === "websocket") forget(socket, topic);
      else socket.conn.write(packetOf(update));
    }
  }

  function forget(socket: Socket, topic: string): void {
    const sockets = polling.get(topic);
    if (sockets?.delete(socket) && sockets.size === 0) polling.delete(topic);
  }

  return {
    broadcast(topic, update) {
      app.publish(`${name}${SEPARATOR}${topic}`, `4${packetOf(update)}`);
      if (polling.size > 0) sendToPolling(topic, update);
    },
    send(id, update) {
      const socket = namespace.sockets.get(id);
      if (socket?.connected) socket.conn.write(packetOf(update));
    },
    join(id, topic) {
      const socket = namespace.sockets.get(id);
      if (socket === undefined) return;
      void socket.join(topic);
      if (socket.conn.transport.name === "websocket") return;
      polling.set(topic, (polling.get(topic) ?? new Set()).add(socket));
    },
    leave(id, topic) {
      const socket = namespace.sockets.get(id);
      if (socket === undefined) return;
      void socket.leave(topic);
      forget(socket, topic);
    },
    bufferedBytes(id) {
      const socket = namespace.sockets.get(id);
      if (socket === undefined || !socket.connected || socket.conn.readyState !== "open") return 0;
      // Not public, but the only way to learn how much waits: past the limit messages are dropped silently.
      const { socket: native } = socket.conn.transport as unknown as { socket?: WebSocket<unknown> };
      return native?.getBufferedAmount?.() ?? 0;
    },
    disconnect(id, reason) {
      const socket = namespace.sockets.get(id);
      socket?.emit("server:disconnect", { code: reason });
      socket?.disconnect(true);
    },
  };
}
