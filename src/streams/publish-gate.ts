import type { Stream, StreamFigures, Verdict } from "../protocol/stream.ts";
import type { KeyRefusal } from "./keys/key-refusal.ts";

/*
 * The side of streams that media servers talk to: who may publish, and which sessions are live.
 */

/** A media server, and one of its runs: its connection ids begin anew with every boot. */
export interface MediaServer {
  /** Its identity (server-identity.ts). */
  name: string;
  /**
   * Null where the server cannot tell its boots apart (nginx-rtmp): a connection id that publishes a second time then
   * means a new boot. The empty text where the server does not say its boot.
   */
  boot: string | null;
}

/** An encoder asks to publish. */
export interface PublishRequest {
  streamKey: string;
  /** The media server's id of the encoder's connection. */
  connectionId: string;
  app?: string | undefined;
  clientIp?: string | undefined;
  protocol?: string | undefined;
}

/** Names a publication by the encoder's connection, for media servers that keep no session ids. */
export interface PublishedConnection {
  /** Null where the media server tells the connection alone; server and connection id must name one session then. */
  streamKey: string | null;
  connectionId: string;
  app?: string | undefined;
}

export interface PublishGate {
  /**
   * Whether the key may publish now. If so, a session is reserved for 10 s, until it is started. The same connection
   * gets the same session when it asks again.
   * @throws AppError `rate_limited` for a wrong key after too many wrong ones, `unavailable` where the database is away and the key is not cached
   */
  validate(server: MediaServer, request: PublishRequest): Promise<Verdict>;

  /** The media flows. @throws AppError `not_found` for a session of another media server, `conflict` for a session that has ended, `unavailable` */
  started(server: MediaServer, sessionId: string): Promise<Stream>;

  /** Renews the lease, and shows the figures to watchers. @throws AppError as `started` */
  report(server: MediaServer, sessionId: string, figures: StreamFigures): Promise<void>;

  /** The encoder is gone. @throws AppError as `started` */
  ended(server: MediaServer, sessionId: string, reason?: string): Promise<Stream>;

  /**
   * `validate` and `started` in one, for media servers that ask by HTTP, where approval is the start. `reports` says
   * whether updates that renew the lease will follow.
   * @throws AppError as `validate`
   */
  publish(server: MediaServer, request: PublishRequest, options: { reports: boolean }): Promise<Verdict>;

  /**
   * Renews the lease of the session that this connection publishes. Media time that stands still renews nothing. The
   * lease is longer where updates come only `everySeconds`. Never throws: a publisher is not cut because the database is
   * away.
   * @returns why the publisher is to be cut; null where it may go on
   */
  update(
    server: MediaServer,
    connection: PublishedConnection,
    figures: StreamFigures,
    options?: { everySeconds: number },
  ): Promise<KeyRefusal | null>;

  /** The connection publishes no more. An unknown one is ignored. Never throws: an end that cannot be written now is written later. */
  unpublish(server: MediaServer, connection: PublishedConnection, reason: string): Promise<void>;
}
