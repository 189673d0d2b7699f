import type { Server } from "socket.io";
import type { Outlet } from "../live/outlet.ts";
import type { WebSocket } from "./uws.ts";

/** The way out of frames, by the sockets of one namespace. */
export function createOutlet(io: Server, name: string): Outlet {
  const namespace = io.of(name);
  return {
    // To exactly one room, and nobody excepted: only then uWebSockets.js publishes natively.
    broadcast: (topic, update) => void namespace.to(topic).emit("update", update),
    send: (id, update) => void namespace.sockets.get(id)?.emit("update", update),
    join: (id, topic) => void namespace.sockets.get(id)?.join(topic),
    leave: (id, topic) => void namespace.sockets.get(id)?.leave(topic),
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
