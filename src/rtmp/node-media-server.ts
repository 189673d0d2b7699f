import { type Clock, systemClock } from "../client/clock.ts";
import type { DropReason } from "../protocol/stream.ts";
import { type EncoderLink, type NodeMediaSession, toEncoderLink } from "./encoder-link.ts";
import type { PublishSession } from "./publish-session.ts";
import { createRtmpClient, type Denial, type RtmpClient, type RtmpClientOptions } from "./rtmp-client.ts";

/*
 * The public face of `playhead/rtmp/node-media-server`: makes node-media-server 4.4 ask Playhead about every encoder.
 *
 * Only `prePublish` is listened to. `postPublish` comes for refused encoders as well, `donePublish` 30 s late and for
 * those who never published, and a second encoder of a path ends with `donePlay`: the connection itself says when a
 * publication is over, and the answer when it begins.
 */

export type { NodeMediaSession } from "./encoder-link.ts";
export type { Denial, RtmpClient, RtmpClientOptions } from "./rtmp-client.ts";
export type { RtmpProblem } from "./rtmp-connection.ts";

const DEFAULT_SILENCE_TIMEOUT_MS = 30_000;

/** What is used of a node-media-server. */
export interface NodeMediaServer {
  on(event: "prePublish", listener: (session: NodeMediaSession) => void): unknown;
}

/** Why an encoder was cut or refused; the key is not in it. */
export interface PublishRefusal {
  connectionId: string;
  app: string;
  clientIp: string | undefined;
  /**
   * Of a validation; of a session that was on; or `no_key`: there was none, or a name that node-media-server does not
   * take; `second_publish`: the connection had asked already; `unsupported`: it is of a kind that cannot be held;
   * `silent`: nothing came from it for too long; `closed`: the guard is closed.
   */
  reason: Denial | DropReason | "no_key" | "second_publish" | "unsupported" | "silent" | "closed";
}

export interface GuardOptions {
  /**
   * Where the encoder's key is; by default its stream name, which is then also what players ask for. Publishing at
   * `rtmp://…/live/<name>?key=<key>` and `({ streamQuery }) => streamQuery.key` keep the two apart.
   */
  streamKey?: (session: NodeMediaSession) => unknown;
  /**
   * An encoder from which nothing came for so long is cut, in milliseconds; 30,000 by default, 0 for never.
   * node-media-server would hold on to one whose network is gone, and it could not come back.
   */
  silenceTimeoutMs?: number;
  /** Told of every encoder that was refused or cut. */
  onRefused?: (refusal: PublishRefusal) => void;
  /** For tests. */
  clock?: Clock;
}

/** The connection to Playhead: how to make one, or one that is there. */
export type GuardConnection = RtmpClientOptions | { client: RtmpClient };

export interface Guard {
  readonly client: RtmpClient;
  /** Cuts what publishes, refuses every encoder from now on, and closes the client it has made. */
  close(): Promise<void>;
}

interface Publication {
  link: EncoderLink;
  cut(reason: PublishRefusal["reason"]): void;
}

/**
 * Lets only those publish whom Playhead admits: holds every encoder until the answer is there, and denies where none
 * comes. Once per process, before `nms.run()`: all servers of a process share their events.
 * What node-media-server pulls by itself (relay tasks) has no encoder and is not asked about.
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
  /** By session: whoever has asked and is still connected. */
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
    // Its first key says nothing about another name.
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
    // node-media-server has refused it itself, most likely for another publisher of the same name.
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
      // The end of a request is not yet the end of its connection.
      link.cut();
    });
    admitted.onDrop(cut);
    admitted.started();
    link.release();
  }

  /** Reports what comes in and who watches, as often as the client sends it on. */
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

/** The media server's own mistakes are shown; a throw in a handler of node-media-server would end the process. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    process.emitWarning(error instanceof Error ? error : String(error));
    return undefined;
  }
}

/** A relay task that node-media-server's operator has set up: it connects by itself, and no encoder to it. */
function isPull(session: NodeMediaSession): boolean {
  return "rtmpClient" in session || "rtspClient" in session;
}

/** Players, without node-media-server's own recordings and relays, which have no address. */
function countViewers(session: NodeMediaSession): number | null {
  const { broadcast } = session as { broadcast?: { subscribers?: unknown } };
  if (!(broadcast?.subscribers instanceof Map)) return null;
  return [...broadcast.subscribers.values()].filter((player) => player?.ip !== "").length;
}

/** `::ffff:192.0.2.1:50000` → `192.0.2.1`; undefined where the connection was gone before it was looked at. */
function toAddress(ip: string): string | undefined {
  const address = ip.replace(/:\d+$/, "").replace(/^::ffff:(?=\d+\.)/, "");
  return address === "" || address.startsWith("undefined") ? undefined : address;
}
