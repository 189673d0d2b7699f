import { type Clock, systemClock } from "../client/clock.ts";
import type { DropReason } from "../protocol/stream.ts";
import { type EncoderLink, type NodeMediaSession, toEncoderLink } from "./encoder-link.ts";
import type { PublishSession } from "./publish-session.ts";
import { createRtmpClient, type Denial, type RtmpClient, type RtmpClientOptions } from "./rtmp-client.ts";

/*
 * The exports of `playhead/rtmp/node-media-server`: makes node-media-server 4.4 ask Playhead about every encoder.
 *
 * The guard listens to `prePublish` alone, because the other events mislead. `postPublish` comes for refused encoders
 * too. `donePublish` comes 30 s late, and also for encoders that never published. A second encoder of a path ends with
 * `donePlay`. So a publication begins with Playhead's answer and ends when the connection closes.
 */

export type { NodeMediaSession } from "./encoder-link.ts";
export type { Denial, RtmpClient, RtmpClientOptions } from "./rtmp-client.ts";
export type { RtmpProblem } from "./rtmp-connection.ts";

const DEFAULT_SILENCE_TIMEOUT_MS = 30_000;

/** The part of a node-media-server that the guard uses. */
export interface NodeMediaServer {
  on(event: "prePublish", listener: (session: NodeMediaSession) => void): unknown;
}

/** An encoder that was cut or refused, and why. It does not contain the key. */
export interface PublishRefusal {
  connectionId: string;
  app: string;
  clientIp: string | undefined;
  /**
   * A `Denial` of the key, a `DropReason` of the live session, or one of: `no_key`: there was no key, or
   * node-media-server does not accept the name; `second_publish`: the connection had published before; `unsupported`:
   * the connection is of a kind that cannot be held; `silent`: no data came for too long; `closed`: the guard is closed.
   */
  reason: Denial | DropReason | "no_key" | "second_publish" | "unsupported" | "silent" | "closed";
}

export interface GuardOptions {
  /**
   * Reads the encoder's key. Default: the stream name, but then players must know the key too. To keep key and name
   * apart, publish at `rtmp://…/live/<name>?key=<key>` and pass `({ streamQuery }) => streamQuery.key`.
   */
  streamKey?: (session: NodeMediaSession) => unknown;
  /**
   * An encoder that sends nothing for this long is cut, in milliseconds; 30,000 by default, 0 for never. Without it,
   * node-media-server would keep the connection of an encoder whose network is gone, and refuse its next one.
   */
  silenceTimeoutMs?: number;
  /** Called for every encoder that was refused or cut. */
  onRefused?: (refusal: PublishRefusal) => void;
  /** For tests. */
  clock?: Clock;
}

/** The connection to Playhead: options for a new client, or an existing client. */
export type GuardConnection = RtmpClientOptions | { client: RtmpClient };

export interface Guard {
  readonly client: RtmpClient;
  /** Cuts all encoders and refuses new ones. Closes the client, if the guard made it. */
  close(): Promise<void>;
}

interface Publication {
  link: EncoderLink;
  cut(reason: PublishRefusal["reason"]): void;
}

/**
 * Admits only encoders whose key Playhead accepts. Holds each encoder until the answer comes, and refuses it if none
 * comes. Call it once per process, before `nms.run()`: all servers of a process share their events.
 * Relay tasks, in which node-media-server pulls a stream itself, have no encoder and are always admitted.
 *
 * @example
 * ```js
 * const nms = new NodeMediaServer({ bind: "0.0.0.0", rtmp: { port: 1935 } });
 * guardNodeMediaServer(nms, { url: "https://progress.example.org", secret, server: "ingest-1" });
 * await nms.run();
 * ```
 */
export function guardNodeMediaServer(nms: NodeMediaServer, options: GuardConnection & GuardOptions): Guard {
  const { streamKey = (session) => session.streamName, clock = systemClock, onRefused = () => {} } = options;
  const { silenceTimeoutMs = DEFAULT_SILENCE_TIMEOUT_MS } = options;
  const client = "client" in options ? options.client : createRtmpClient(options);
  /** The connected encoders that have asked, admitted or not yet. */
  const publications = new Map<NodeMediaSession, Publication>();
  let closed = false;

  function tell(session: NodeMediaSession, reason: PublishRefusal["reason"]): void {
    const { id: connectionId, streamApp: app } = session;
    attempt(() => onRefused({ connectionId, app, clientIp: toAddress(session.ip), reason }));
  }

  function toPublication(session: NodeMediaSession, link: EncoderLink): Publication {
    let isCut = false;
    return {
      link,
      cut(reason) {
        link.cut();
        if (!isCut) tell(session, reason);
        isCut = true;
      },
    };
  }

  function admit(session: NodeMediaSession): void {
    if (isPull(session)) return;
    const link = toEncoderLink(session);
    if (link === null) {
      session.close();
      tell(session, "unsupported");
      return;
    }
    const publication = toPublication(session, link);
    const key = session.streamPath === "" ? "" : attempt(() => streamKey(session));
    if (closed) publication.cut("closed");
    // The answer for the first name does not hold for another one.
    else if (publications.has(session)) publication.cut("second_publish");
    else if (typeof key !== "string" || key === "") publication.cut("no_key");
    else {
      publications.set(session, publication);
      link.hold();
      link.onClosed(() => publications.delete(session));
      decide(session, publication, key).catch(() => publication.cut("unreachable"));
    }
  }

  async function decide(session: NodeMediaSession, publication: Publication, key: string): Promise<void> {
    const { link, cut } = publication;
    const clientIp = toAddress(session.ip);
    const answer = await client.validate({
      streamKey: key,
      connectionId: session.id,
      app: session.streamApp,
      protocol: session.protocol,
      ...(clientIp === undefined ? {} : { clientIp }),
    });
    if (!answer.valid) return cut(answer.reason);
    const admitted = answer.session;
    // node-media-server refused the encoder itself, most likely because the name has another publisher.
    if (closed || !link.open) {
      admitted.ended("closed by the media server");
      return link.cut();
    }
    const stopMeasuring = measure(session, admitted, () => {
      admitted.ended("silent");
      cut("silent");
    });
    link.onClosed(() => {
      stopMeasuring();
      admitted.ended("connection closed");
      // After the end of a request its connection may still be open.
      link.cut();
    });
    admitted.onDrop(cut);
    admitted.started();
    link.release();
  }

  /** Reports the incoming bitrate and the number of viewers, once per report of the client. */
  function measure(session: NodeMediaSession, admitted: PublishSession, onSilent: () => void): () => void {
    let cancel = () => {};
    let atMs = clock.monotonicMs();
    let heardAtMs = atMs;
    let bytes = session.inBytes;
    const look = () => {
      const [nowMs, nowBytes] = [clock.monotonicMs(), session.inBytes];
      if (nowBytes !== bytes) heardAtMs = nowMs;
      else if (silenceTimeoutMs > 0 && nowMs - heardAtMs >= silenceTimeoutMs) return onSilent();
      // Bits per millisecond are kilobits per second.
      const bitrateKbps = Math.round((Math.max(0, nowBytes - bytes) * 8) / Math.max(1, nowMs - atMs));
      const viewers = countViewers(session);
      admitted.report({ bitrateKbps, ...(viewers === null ? {} : { viewers }) });
      [atMs, bytes] = [nowMs, nowBytes];
      cancel = clock.after(client.reportIntervalMs, look);
    };
    cancel = clock.after(client.reportIntervalMs, look);
    return () => cancel();
  }

  nms.on("prePublish", admit);

  return {
    client,
    async close() {
      closed = true;
      for (const { cut } of [...publications.values()]) cut("closed");
      if (!("client" in options)) await client.close();
    },
  };
}

/** Turns an error of the caller's function into a warning: thrown in an event of node-media-server, it would end the process. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
    return undefined;
  }
}

/** Whether the session is a relay task, in which node-media-server pulls a stream itself. */
function isPull(session: NodeMediaSession): boolean {
  return "rtmpClient" in session || "rtspClient" in session;
}

/** Counts players. node-media-server's own recordings and relays have no address, and do not count. */
function countViewers(session: NodeMediaSession): number | null {
  const { broadcast } = session as { broadcast?: { subscribers?: unknown } };
  if (!(broadcast?.subscribers instanceof Map)) return null;
  return [...broadcast.subscribers.values()].filter((player) => player?.ip !== "").length;
}

/** `::ffff:192.0.2.1:50000` → `192.0.2.1`. Undefined if the connection was gone already. */
function toAddress(ip: string): string | undefined {
  const address = ip.replace(/:\d+$/, "").replace(/^::ffff:(?=\d+\.)/, "");
  return address === "" || address.startsWith("undefined") ? undefined : address;
}
