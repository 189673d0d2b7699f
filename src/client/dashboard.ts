import type { WireError } from "../errors.ts";
import type { Update } from "../protocol/dashboard.ts";
import { type Clock, systemClock } from "./clock.ts";
import { type ConnectionState, createConnection, toServerUrl } from "./connection.ts";
import { createListeners } from "./listeners.ts";
import type { TokenSource } from "./token-source.ts";
import { createTopicState, type TopicState, type TopicView } from "./topic-state.ts";

const RETRY_MS = 2000;

export interface DashboardOptions {
  /** Where the server is; in a browser by default where the page came from. */
  url?: string;
  /** A token, or a function that gets one: it is called at every connect and before a token ends. */
  token: TokenSource;
  /** For tests. */
  clock?: Clock;
}

/** A topic as it stands, and how far it can be trusted. */
export interface WatchedTopic extends TopicView {
  /** `at` is null while the first snapshot is on its way, or where it was refused. */
  error: WireError | null;
  /** True while the connection is away, or the server is behind itself: what is shown may be old. */
  stale: boolean;
}

export interface Subscription {
  readonly topic: string;
  readonly current: WatchedTopic;
  /** Merges rows that came another way, such as a further page of learners over HTTP. */
  merge(update: Omit<Update, "topic" | "at">): void;
  unsubscribe(): void;
}

export interface Dashboard {
  readonly state: ConnectionState;
  /** True while the connection is away: everything shown may be old. */
  readonly stale: boolean;
  onState(listener: (state: ConnectionState) => void): () => void;
  /** Follows a topic, such as `course:algebra` or `user:alice`; the listener gets the whole of it at every change. */
  subscribe(topic: string, listener: (watched: WatchedTopic) => void): Subscription;
  close(): void;
}

interface Followed {
  topic: string;
  state: TopicState;
  isLive: boolean;
  /** Frames that came before the snapshot they belong on top of. */
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

  connection.onState((state) => {
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
    absorb(topic, update);
    tell(topic);
  });

  // The course changed hands, or the new token may see less: no more frames come.
  connection.onEvent("unsubscribed", ({ topic: name, error }: { topic: string; error: WireError }) => {
    const topic = followed.get(name);
    if (!topic) return;
    topic.isLive = false;
    topic.error = error;
    tell(topic);
  });

  /** A frame may be a snapshot too: where the server had to let go of what this socket had not yet read. */
  function absorb(topic: Followed, update: Update): void {
    if (update.snapshot) topic.state.replace(update);
    else topic.state.apply(update);
  }

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
      for (const update of topic.early) {
        if (Date.parse(update.at) >= Date.parse(answer.snapshot.at)) absorb(topic, update);
        else topic.state.apply(update);
      }
      topic.early = [];
      topic.isLive = true;
      topic.error = null;
    } else {
      topic.error = answer?.error ?? null;
      const waitMs = answer === null ? RETRY_MS : toRetryMs(answer.error);
      // Away from the server the next connection subscribes again by itself.
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
      // A listener of its own for every subscription, so that the same function may be given twice.
      const own = (watched: WatchedTopic) => listener(watched);
      topic.listeners.add(own);
      if (topic.isLive) own(toWatched(topic));
      return {
        topic: name,
        get current() {
          return toWatched(topic);
        },
        merge(rows) {
          const { at } = topic.state.view();
          if (at === null) return;
          topic.state.apply({ ...rows, topic: name, at });
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

/** Null where a repeat would be refused again. */
function toRetryMs(error: WireError): number | null {
  if (error.retryAfterMs !== undefined) return error.retryAfterMs;
  return ["unavailable", "overloaded", "rate_limited", "internal"].includes(error.code) ? RETRY_MS : null;
}
