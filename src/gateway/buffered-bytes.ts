import type { WebSocket } from "../uws/uws.ts";

/** An Engine.IO connection; its fields are not all public. */
export interface BufferedConnection {
  readonly readyState: string;
  readonly transport: object;
}

/**
 * How many bytes wait for the client of a connection; 0 where it polls. Nothing else tells: past its limit Socket.IO on
 * uWebSockets.js drops messages in silence.
 */
export function bufferedBytes({ readyState, transport }: BufferedConnection): number {
  if (readyState !== "open") return 0;
  const { socket } = transport as { socket?: WebSocket<unknown> };
  return socket?.getBufferedAmount?.() ?? 0;
}
