import { createTopicState, type TopicView } from "../../src/client/topic-state.ts";
import type { Update } from "../../src/protocol/dashboard.ts";
import { connect } from "./socket-client.ts";

/** A dashboard that subscribes once, never reconnects, and shows what frames told it since. */
export interface WatchingDashboard {
  view(topic: string): TopicView;
  /** Whether it still has the connection that it began with. */
  connected(): boolean;
  close(): void;
}

/** Opens a dashboard that watches these topics. */
export async function watchTopics(options: {
  url: string;
  token: string;
  topics: string[];
}): Promise<WatchingDashboard> {
  const client = await connect(options.url, "/dashboard", options.token);
  const createState = (topic: string) => createTopicState(topic, { monotonicMs: () => performance.now() });
  const states = new Map(options.topics.map((topic) => [topic, createState(topic)]));
  const stateOf = (topic: string) => states.get(topic) as ReturnType<typeof createState>;
  client.socket.on("update", (update: Update) => {
    if (update.snapshot) stateOf(update.topic).replace(update);
    else stateOf(update.topic).apply(update);
  });
  for (const topic of options.topics) {
    const answer = await client.call("subscribe", { topic });
    if (!answer.ok) throw new Error(`${topic} was refused: ${answer.error.message}`);
    stateOf(topic).apply(answer.snapshot);
  }
  return {
    view: (topic) => stateOf(topic).view(),
    connected: () => client.socket.connected,
    close: client.close,
  };
}
