import type { Stream, StreamFigures, Verdict } from "../protocol/stream.ts";

/*
 * Who may publish, and what is on: the side of streams that media servers talk to.
 */

/** A media server, and which of its runs this is: connection ids begin anew with every boot. */
export interface MediaServer {
  name: string;
  /**
   * Null where the server cannot tell (nginx): a connection id that publishes a second time then means a new boot.
   * The empty text where it does not say.
   */
  boot: string | null;
}

/** An encoder that asks to publish. */
export interface PublishRequest {
  streamKey: string;
  /** The media server's own id of the encoder's connection. */
  connectionId: string;
  app?: string | undefined;
  clientIp?: string | undefined;
  protocol?: string | undefined;
}

/** Names a publication by the encoder's connection, for media servers that keep no session ids. */
export interface PublishedConnection {
  /** Null where the server tells the connection alone; then server and connection id must name one session. */
  streamKey: string | null;
  connectionId: string;
  /** As `PublishRequest`. */
  app?: string | undefined;
}

export interface PublishGate {
  /**
   * Whether the key may publish now. A valid one's session is reserved for 10 s, until it is started. Asked again for
   * the same connection, it gives the same session.
   * @throws AppError `rate_limited` for a wrong key where there were too many, `unavailable` where it cannot be told now
   */
  validate(server: MediaServer, request: PublishRequest): Promise<Verdict>;

  /** The media flows. @throws AppError `not_found` for a session that is not this server's, `conflict` where it is over, `unavailable` */
  started(server: MediaServer, sessionId: string): Promise<Stream>;

  /** Renews the lease; what was measured is shown. @throws AppError as `started` */
  report(server: MediaServer, sessionId: string, figures: StreamFigures): Promise<void>;

  /** The encoder is gone. @throws AppError as `started` */
  ended(server: MediaServer, sessionId: string, reason?: string): Promise<Stream>;

  /**
   * For media servers that ask by HTTP, where approval is the start: `validate` and `started` in one. `reports` says
   * whether updates will follow that renew the lease.
   * @throws AppError as `validate`
   */
  publish(server: MediaServer, request: PublishRequest, options: { reports: boolean }): Promise<Verdict>;

  /**
   * Renews the lease of whatever this connection publishes. Never throws: what cannot be told now is no reason to cut
   * a publisher. Media time that stands still renews nothing. Updates that come at most `everySeconds` renew for longer.
   * @returns why the publisher is to be cut; null where there is no reason to
   */
  update(
    server: MediaServer,
    connection: PublishedConnection,
    figures: StreamFigures,
    options?: { everySeconds: number },
  ): Promise<"expired" | "revoked" | "disabled" | null>;

  /** This connection publishes no more. Never throws: what cannot be written now is written later. Unknown ones are ignored. */
  unpublish(server: MediaServer, connection: PublishedConnection, reason: string): Promise<void>;
}
