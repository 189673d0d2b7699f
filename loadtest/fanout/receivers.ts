import { EventEmitter, once } from "node:events";
import { RawSocket } from "../load/raw-socket.ts";
import { openSocketIo } from "../load/socketio-client.ts";
import type { ConnectDashboards } from "./dashboards.ts";

/*
 * A dashboard of the load. It counts its frames without reading them, but a probe reads each frame.
 */

/** The update frames of all dashboards in this process. */
export const counted = { frames: 0, bytes: 0, closed: 0 };

/** soketi speaks the protocol of Pusher. */
export type Protocol = "socket.io" | "pusher";

export interface Receiver {
  subscribe(topic: string): Promise<unknown>;
  /** After the subscription it skips long frames, unless the dashboard is a probe. */
  socket: RawSocket;
  /** A probe sets it: gets every frame of an update. */
  onFrame(text: string): void;
}

const ANSWER_TIMEOUT_MS = 30_000;
const PUSHER_PATH = "/app/app-key?protocol=7&client=js&version=8.4.0&flash=false";

const COUNTERS = {
  onLongFrame(bytes: number): void {
    counted.frames += 1;
    counted.bytes += bytes;
  },
  onClose(): void {
    counted.closed += 1;
  },
};

/** Resolves after the server let the dashboard in. */
export async function openReceiver({ protocol, url, token = "" }: ConnectDashboards): Promise<Receiver> {
  if (protocol === "pusher") return await openPusher(url);
  const onEvent = (json: string) => receiver.onFrame(json);
  const client = await openSocketIo({ url, namespace: "/dashboard", auth: { token }, onEvent, ...COUNTERS });
  const receiver: Receiver = {
    subscribe: (topic) => client.ask("subscribe", { topic }),
    socket: client.socket,
    onFrame: () => undefined,
  };
  return receiver;
}

async function openPusher(url: string): Promise<Receiver> {
  const answers = new EventEmitter();
  const waitFor = (event: string) => once(answers, event, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
  const socket = new RawSocket({
    url: `${url}${PUSHER_PATH}`,
    onText(text) {
      const { event } = JSON.parse(text) as { event: string };
      if (event === "update") receiver.onFrame(text);
      else if (event.includes("error")) console.error(`soketi refused: ${text}`);
      else answers.emit(event);
    },
    ...COUNTERS,
  });
  const receiver: Receiver = {
    async subscribe(topic) {
      socket.send(JSON.stringify({ event: "pusher:subscribe", data: { channel: toChannel(topic) } }));
      await waitFor("pusher_internal:subscription_succeeded");
    },
    socket,
    onFrame: () => undefined,
  };
  await waitFor("pusher:connection_established");
  return receiver;
}

/** Pusher allows no colon in a channel. https://pusher.com/docs/channels/using_channels/channels/#channel-naming-conventions */
export function toChannel(topic: string): string {
  return topic.replaceAll(":", ".");
}
