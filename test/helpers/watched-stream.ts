import { io } from "socket.io-client";
import type { Ack } from "../../src/protocol/ack.ts";
import type { Update } from "../../src/protocol/dashboard.ts";
import type { Stream, StreamStatus } from "../../src/protocol/stream.ts";
import { waitFor } from "./wait-for.ts";

/** A dashboard on `stream:<id>`. It connects again when its server comes back. */
export interface WatchedStream {
  /** The stream as shown now; null before the first snapshot. */
  stream(): Stream | null;
  /** Every status that was shown, in order. */
  statuses(): StreamStatus[];
  /** Waits until the stream has the status. @returns how long that took, in ms */
  until(status: StreamStatus, timeoutMs?: number): Promise<number>;
  close(): void;
}

export async function watchStream(options: { url: string; token: string; streamId: string }): Promise<WatchedStream> {
  const topic = `stream:${options.streamId}`;
  const statuses: StreamStatus[] = [];
  let shown: Stream | null = null;
  const socket = io(`${options.url}/dashboard`, {
    auth: { token: options.token },
    transports: ["websocket"],
    forceNew: true,
    reconnectionDelay: 50,
    reconnectionDelayMax: 200,
  });
  function show({ streams = [] }: Update): void {
    for (const stream of streams) {
      if (shown !== null && stream.version < shown.version) continue;
      if (statuses.at(-1) !== stream.status) statuses.push(stream.status);
      shown = stream;
    }
  }
  async function subscribe(): Promise<void> {
    const ack = (await socket.timeout(10_000).emitWithAck("subscribe", { topic })) as Ack<{ snapshot: Update }>;
    if (!ack.ok) throw new Error(`${topic} was refused: ${ack.error.message}`);
    show(ack.snapshot);
  }
  socket.on("update", show);
  await new Promise<void>((resolve, reject) => {
    // If the server goes away, `subscribe` fails; the next `connect` tries again.
    socket.on("connect", () => void subscribe().then(resolve, reject));
  });
  return {
    stream: () => shown,
    statuses: () => [...statuses],
    async until(status, timeoutMs = 10_000) {
      const startedAt = performance.now();
      await waitFor(() => shown?.status === status, {
        what: `the stream to be ${status}; it was ${statuses}`,
        timeoutMs,
      });
      return performance.now() - startedAt;
    },
    close: () => socket.disconnect(),
  };
}
