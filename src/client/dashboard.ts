import type { WireError } from "../errors.ts";
import type { Update } from "../protocol/wire.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type ConnectionState, createConnection, toServerUrl } from "./connection.ts";
import { createListeners } from "./listeners.ts";
import type { TokenSource } from "./token-source.ts";
import { createTopicState, type TopicRows, type TopicState, type TopicView } from "./topic-state.ts";

const RETRY_MS = 2000;

export interface DashboardOptions {
  /** The server; by default, in a browser, where the page came from. */
  url?: string;
  /** A token, or a function that gets one: the SDK calls it at every connect and before a token ends. */
  token: TokenSource;
  /** For tests. */
  clock?: Clock;
}

/** The state of a topic, and whether it is up to date. */
export interface WatchedTopic extends TopicView {
  /** Why the topic was refused or ended; null while there is no error. Before the first snapshot `at` is null. */
  error: WireError | null;
  /** True while the connection is broken, or the server itself may miss changes: the shown state may be old. */
  stale: boolean;
}

export interface Subscription {
  readonly topic: string;
  readonly current: WatchedTopic;
  /** Merges rows from elsewhere, such as a further page of learners that was read over HTTP. */
  merge(rows: TopicRows): void;
  unsubscribe(): void;
}

export interface Dashboard {
  readonly state: ConnectionState;
  /** True while the connection is broken: everything that is shown may be old. */
  readonly stale: boolean;
  onState(listener: (state: ConnectionState) => void): () => void;
  /** Follows a topic, such as `course:algebra` or `user:alice`. The listener gets its whole state at every change. */
  subscribe(topic: string, listener: (watched: WatchedTopic) => void): Subscription;
  close(): void;
}

interface Followed {
  topic: string;
  state: TopicState;
  isLive: boolean;
  /** Frames that came before the snapshot. They are applied after it. */
  early: Update[];
  error: WireError | null;
  listeners: Set<(watched: WatchedTopic) => void>;
  cancelRetry: () => void;
}

/**
 * Watches topics live, over reconnects and restarts of the server.
 * @example
 * const dashboard = createDashboard({ url, token });
 * dashboard.subscribe("course:algebra", ({ courses, viewers }) => render(courses, viewers));
 */
export function createDashboard(options: DashboardOptions): Dashboard {
  const clock = options.clock ?? systemClock;
  const url = toServerUrl(options.url);
  const followed = new Map<string, Followed>();
  const listeners = createListeners<{ state: [ConnectionState] }>();
  const connection = createConnection({ clock }, { url, namespace: "/dashboard", token: options.token });

  connection.on("state", (state) => {
    for (const topic of followed.values()) {
      topic.isLive = false;
      topic.cancelRetry();
      if (state === "online") void loadSnapshot(topic);
      else tell(topic);
    }
    listeners.emit("state", state);
  });

  connection.onEvent("update", (update: Update) => {
    const topic = followed.get(update.topic);
    if (!topic) return;
    if (!topic.isLive) {
      topic.early.push(update);
      return;
    }
    topic.state.apply(update);
    tell(topic);
  });

  // The course was deleted or has another instructor now, or the new token has fewer rights. No more frames come.
  connection.onEvent("unsubscribed", ({ topic: name, error }: { topic: string; error: WireError }) => {
    const topic = followed.get(name);
    if (!topic) return;
    topic.isLive = false;
    topic.error = error;
    tell(topic);
  });

  function toWatched(topic: Followed): WatchedTopic {
    const view = topic.state.view();
    return { ...view, error: topic.error, stale: !topic.isLive || view.behind };
  }

  function tell(topic: Followed): void {
    const watched = toWatched(topic);
    for (const listener of topic.listeners) listener(watched);
  }

  async function loadSnapshot(topic: Followed): Promise<void> {
    topic.early = [];
    const answer = await connection.call<{ snapshot: Update }>("subscribe", { topic: topic.topic });
    if (followed.get(topic.topic) !== topic) return;
    if (answer?.ok) {
      topic.state.replace(answer.snapshot);
      for (const update of topic.early) topic.state.apply(update);
      topic.early = [];
      topic.isLive = true;
      topic.error = null;
    } else {
      topic.error = answer?.error ?? null;
      const waitMs = answer === null ? RETRY_MS : toRetryMs(answer.error);
      // Without a connection there is no need to retry: the next connection subscribes again.
      if (waitMs !== null && connection.state === "online")
        topic.cancelRetry = clock.after(waitMs, () => void loadSnapshot(topic));
    }
    tell(topic);
  }

  function follow(name: string): Followed {
    const topic: Followed = {
      topic: name,
      state: createTopicState(name, clock),
      isLive: false,
      early: [],
      error: null,
      listeners: new Set(),
      cancelRetry: () => {},
    };
    followed.set(name, topic);
    if (connection.state === "online") void loadSnapshot(topic);
    return topic;
  }

  function leave(topic: Followed): void {
    topic.cancelRetry();
    followed.delete(topic.topic);
    void connection.call("unsubscribe", { topic: topic.topic });
  }

  return {
    get state() {
      return connection.state;
    },
    get stale() {
      return connection.state !== "online";
    },
    onState: (listener) => listeners.on("state", listener),
    subscribe(name, listener) {
      const topic = followed.get(name) ?? follow(name);
      // Every subscription has a listener of its own, so that a caller may pass the same function twice.
      const own = (watched: WatchedTopic) => listener(watched);
      topic.listeners.add(own);
      if (topic.isLive) own(toWatched(topic));
      return {
        topic: name,
        get current() {
          return toWatched(topic);
        },
        merge(rows) {
          if (topic.state.view().at === null) return;
          topic.state.merge(rows);
          tell(topic);
        },
        unsubscribe() {
          if (topic.listeners.delete(own) && topic.listeners.size === 0) leave(topic);
        },
      };
    },
    close() {
      for (const topic of followed.values()) topic.cancelRetry();
      followed.clear();
      connection.close();
    },
  };
}

/** How long to wait before the next try; null where it would be refused again. */
function toRetryMs(error: WireError): number | null {
  if (error.retryAfterMs !== undefined) return error.retryAfterMs;
  return ["unavailable", "overloaded", "rate_limited", "internal"].includes(error.code) ? RETRY_MS : null;
}
