import { io, type Socket } from "socket.io-client";
import { createTopicState, type TopicState, type TopicView } from "../../src/client/topic-state.ts";
import type { Ack } from "../../src/protocol/ack.ts";
import type { Update } from "../../src/protocol/dashboard.ts";

/** A dashboard that subscribed once and is never reloaded: it shows what frames told it. */
export interface WatchingDashboard {
  view(topic: string): TopicView;
  /** How often the connection ended: a dashboard that stays shows 0. */
  disconnects(): number;
  close(): void;
}

export async function watchTopics(options: {
  url: string;
  token: string;
  topics: string[];
}): Promise<WatchingDashboard> {
  const socket = io(`${options.url}/dashboard`, {
    auth: { token: options.token },
    transports: ["websocket"],
    forceNew: true,
    reconnection: false,
  });
  let disconnects = 0;
  socket.on("disconnect", () => {
    disconnects += 1;
  });
  const states = new Map<string, TopicState>();
  socket.on("update", (update: Update) => {
    const state = states.get(update.topic);
    if (update.snapshot) state?.replace(update);
    else state?.apply(update);
  });
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  for (const topic of options.topics) {
    states.set(topic, createTopicState(topic, { monotonicMs: () => performance.now() }));
    states.get(topic)?.apply(await subscribe(socket, topic));
  }
  return {
    view: (topic) => (states.get(topic) as TopicState).view(),
    disconnects: () => disconnects,
    close: () => socket.disconnect(),
  };
}

async function subscribe(socket: Socket, topic: string): Promise<Update> {
  const ack = (await socket.timeout(10_000).emitWithAck("subscribe", { topic })) as Ack<{ snapshot: Update }>;
  if (!ack.ok) throw new Error(`${topic} was refused: ${ack.error.message}`);
  return ack.snapshot;
}
