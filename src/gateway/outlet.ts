import type { Namespace, Socket } from "socket.io";
import type { Outlet } from "../live/outlet.ts";
import type { TemplatedApp, WebSocket } from "../uws/uws.ts";

/** How Socket.IO names a room of a namespace to uWebSockets.js (socket.io/lib/uws.ts). */
const SEPARATOR = "\x1f";

/**
 * The way out of frames, by the sockets of one namespace. Socket.IO on uWebSockets.js subscribes a socket that joins a
 * room natively, so a frame is published as bytes, past Socket.IO's adapter: that would go over all members, once more
 * a frame, for those who poll.
 */
export function createOutlet(app: Pick<TemplatedApp, "publish">, namespace: Namespace): Outlet {
  const { name } = namespace;
  const packetOf = (update: string) => `2${name},["update",${update}]`;
  /** Who joined while it polled, by topic: uWebSockets.js does not know it. */
  const polling = new Map<string, Set<Socket>>();

  function sendToPolling(topic: string, update: string): void {
    for (const socket of polling.get(topic) ?? []) {
      // Socket.IO has subscribed it natively, with all its rooms, when it was upgraded.
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
      // Not public, and the only way to see what waits: Socket.IO on uWebSockets.js drops in silence past the limit.
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
