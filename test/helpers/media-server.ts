import type { Ack } from "../../src/protocol/ack.ts";
import type { Stream, StreamDrop, Verdict } from "../../src/protocol/stream.ts";
import { type Client, connect, type Namespace } from "./socket-client.ts";

/** A media server's connection to `/rtmp`. */
export interface MediaServer extends Omit<Client, "call"> {
  call<Answer extends object = { stream: Stream }>(event: string, ...given: unknown[]): Promise<Ack<Answer>>;
  /** Asks whether a connection may publish. Without an id, the connection gets one of its own. */
  validate(streamKey: unknown, connectionId?: unknown, more?: object): Promise<Ack<Verdict>>;
  /** Asks and starts. @returns the session's id. @throws Error where the key is refused */
  publish(streamKey: string, connectionId?: string): Promise<string>;
  /** Waits until it is told to drop the session. @returns the reason */
  dropOf(sessionId: string): Promise<string>;
}

export interface MediaServerAuth {
  secret?: unknown;
  server?: unknown;
  boot?: unknown;
}

let connections = 0;

/** Connects to `/rtmp`. @throws ConnectError where the handshake is refused */
export async function connectMediaServer(url: string, auth: MediaServerAuth): Promise<MediaServer> {
  const client = await connect(url, "/rtmp" as Namespace, "", { auth: { ...auth } });
  const call: MediaServer["call"] = (event, ...given) =>
    client.call(event, ...given) as unknown as ReturnType<MediaServer["call"]> as never;
  const server: MediaServer = {
    ...client,
    call,
    validate(streamKey, connectionId, more = {}) {
      connections += 1;
      return call("stream:validate", { streamKey, connectionId: connectionId ?? `connection-${connections}`, ...more });
    },
    async publish(streamKey, connectionId) {
      const verdict = await server.validate(streamKey, connectionId);
      if (!verdict.ok || !verdict.valid) throw new Error(`the key was refused: ${JSON.stringify(verdict)}`);
      const started = await call("stream:started", { sessionId: verdict.sessionId });
      if (!started.ok) throw new Error(`the session did not start: ${JSON.stringify(started)}`);
      return verdict.sessionId;
    },
    async dropOf(sessionId) {
      return (await client.hear<StreamDrop>("stream:drop", (drop) => drop.sessionId === sessionId)).reason;
    },
  };
  return server;
}
