import type { WebSocket } from "../uws/uws.ts";

/*
 * Ends connections whose client does not read. Engine.IO ends a connection politely: uWebSockets.js then waits until the
 * client has read everything that waits for it. A client that reads nothing would keep its connection, and the bytes that
 * wait, for two minutes more.
 */

/** Engine.IO's transport on uWebSockets.js; its fields are not public. */
interface Transport {
  name: string;
  socket?: WebSocket<unknown>;
  doClose(done?: () => void): void;
}

/** From now on the connection ends at once where bytes wait unread. */
export function endUnread({ transport }: { transport: object }): void {
  const own = transport as Transport;
  if (own.name === "websocket") own.doClose = closeOrEnd;
}

/** One function for all connections: it takes the place of the method of Engine.IO's transport. */
function closeOrEnd(this: Transport, done?: () => void): void {
  done?.();
  const { socket } = this;
  if (socket === undefined) return;
  if (socket.getBufferedAmount() > 0) socket.close();
  else socket.end();
}
