import type { PublishSession } from "../../src/rtmp/publish-session.ts";
import { createRtmpClient, type RtmpClient, type RtmpClientOptions } from "../../src/rtmp/rtmp-client.ts";
import type { RtmpProblem } from "../../src/rtmp/rtmp-connection.ts";
import { createFakeClock, type FakeClock } from "./fake-clock.ts";
import { type FakePublishServer, startFakePublishServer } from "./fake-publish-server.ts";
import { waitFor } from "./wait-for.ts";

/*
 * Media servers' clients against a fake Playhead, on a clock that the test moves.
 */

export const SECRET = "a secret of this media server";
export const REQUEST = { streamKey: "right-key", connectionId: "connection-1" };
export const REPORT_INTERVAL_MS = 10_000;

export class RtmpFixture {
  readonly server: FakePublishServer;
  readonly clock: FakeClock = createFakeClock();
  /** The problems that the clients have reported. */
  readonly problems: RtmpProblem[] = [];
  readonly #clients: RtmpClient[] = [];

  static async start(): Promise<RtmpFixture> {
    return new RtmpFixture(await startFakePublishServer());
  }

  private constructor(server: FakePublishServer) {
    this.server = server;
  }

  create(options: Partial<RtmpClientOptions> = {}): RtmpClient {
    const client = createRtmpClient({
      url: this.server.url,
      secret: SECRET,
      server: "ingest-1",
      clock: this.clock,
      onProblem: (problem) => void this.problems.push(problem),
      ...options,
    });
    this.#clients.push(client);
    return client;
  }

  async createConnected(options: Partial<RtmpClientOptions> = {}): Promise<RtmpClient> {
    const client = this.create(options);
    await waitFor(() => client.connected, { what: "a connection" });
    return client;
  }

  /** A session that has not started. */
  async openAdmitted(client: RtmpClient, connectionId = "connection-1"): Promise<PublishSession> {
    const answer = await client.validate({ ...REQUEST, connectionId });
    if (!answer.valid) throw new Error(`refused: ${answer.reason}`);
    return answer.session;
  }

  /** A session whose start the server has acknowledged. */
  async openLive(client: RtmpClient, connectionId?: string): Promise<PublishSession> {
    const session = await this.openAdmitted(client, connectionId);
    session.started();
    const { sessionId } = session;
    await this.server.heard("stream:started", (payload) => payload.sessionId === sessionId);
    await this.roundTrip(client);
    return session;
  }

  /** Waits until every earlier message has arrived, in both directions. */
  async roundTrip(client: RtmpClient): Promise<void> {
    await client.validate({ streamKey: "wrong-key", connectionId: "round-trip" });
  }

  /** Moves the clock in small steps, so that answers in between arrive. */
  async advanceUntil(done: () => boolean, what: string): Promise<void> {
    await waitFor(
      () => {
        if (!done()) this.clock.advance(1000);
        return done();
      },
      { what },
    );
  }

  async close(): Promise<void> {
    const closed = Promise.all(this.#clients.map((client) => client.close()));
    this.clock.advance(60_000);
    await closed;
    await this.server.stop();
  }
}
