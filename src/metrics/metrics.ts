import { readdir } from "node:fs/promises";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { TalliedCounter, type Tally } from "./tallied-counter.ts";

export type { Tally };

/** Every figure on `/metrics`, by the part that counts it. A process has one registry; each test makes its own. */
export type Metrics = ReturnType<typeof createMetrics>;

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const BATCH_SIZES = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500];

export function createMetrics() {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "playhead_" });
  countDescriptorsOffTheLoop(registry);
  return {
    registry,
    ...createHeartbeatMetrics(registry),
    ...createDatabaseMetrics(registry),
    ...createSocketMetrics(registry),
    ...createLiveMetrics(registry),
    ...createStreamMetrics(registry),
    ...createMirrorMetrics(registry),
    ...createWebhookMetrics(registry),
    ...createXapiMetrics(registry),
  };
}

/** prom-client lists the descriptors synchronously: at 10,000 connections every scrape holds all heartbeats for 33 ms. */
function countDescriptorsOffTheLoop(registry: Registry): void {
  const name = "playhead_process_open_fds";
  if (registry.getSingleMetric(name) === undefined) return;
  registry.removeSingleMetric(name);
  new Gauge({
    name,
    help: "Number of open file descriptors.",
    registers: [registry],
    async collect() {
      this.set((await readdir("/proc/self/fd")).length - 1);
    },
  });
}

function createHeartbeatMetrics(registry: Registry) {
  const { counter, tallied, gauge, histogram } = toMakers(registry);
  return {
    heartbeats: tallied("playhead_heartbeats_total", "Heartbeats by outcome: ok, or the code of their refusal.", [
      "outcome",
    ]),
    ackSeconds: histogram("playhead_heartbeat_ack_seconds", "From a heartbeat's arrival to its ack, in seconds."),
    budgetCutMs: counter(
      "playhead_budget_cut_ms_total",
      "Milliseconds of claimed watching that were cut because they passed the user's budget.",
    ),
    cutBeats: counter(
      "playhead_beats_cut_total",
      "Heartbeats that were acked with `cut`, by reason: budget, fragments, duration.",
      ["reason"],
    ),
    pending: gauge("playhead_heartbeats_pending", "Heartbeats that wait for the database."),
    batchSize: histogram("playhead_batch_size", "Rows in one flush.", [], BATCH_SIZES),
    flushSeconds: histogram("playhead_flush_seconds", "How long a flush takes, locks and COMMIT included, in seconds."),
    flushRetries: counter("playhead_flush_retries_total", "Flushes that were repeated, by SQLSTATE.", ["sqlstate"]),
    droppedBeats: counter(
      "playhead_beats_dropped_total",
      "Heartbeats that were acked and dropped because a reset came after them.",
    ),
    cacheReads: counter(
      "playhead_cache_reads_total",
      "Reads of progress by what the cache had: hit, miss, bypassed (older than the reader may see), away.",
      ["outcome"],
    ),
  };
}

function createDatabaseMetrics(registry: Registry) {
  const { gauge, maximum, histogram } = toMakers(registry);
  return {
    poolConnections: gauge(
      "playhead_db_pool_connections",
      "Connections of the pool by state: total, idle, waiting (callers in the queue), max (the limit).",
      ["state"],
    ),
    querySeconds: histogram(
      "playhead_db_query_seconds",
      "How long statements take, locks included, in seconds, by pool: writers (of heartbeats), or reads (all others).",
      ["pool"],
    ),
    databaseBytes: maximum("playhead_db_size_bytes", "pg_database_size(): how much disk the database takes, in bytes."),
    notificationQueue: maximum(
      "playhead_db_notification_queue_usage",
      "pg_notification_queue_usage(): the share of the NOTIFY queue in use, 0 to 1.",
    ),
    commitsWaiting: maximum(
      "playhead_db_commits_waiting",
      "Transactions that have waited for more than 2 s until a synchronous standby has their commit.",
    ),
    oldestXminSeconds: maximum(
      "playhead_db_oldest_xmin_seconds",
      "How long the oldest writing transaction has been seen running, in seconds: the mirror waits for it.",
    ),
  };
}

function createSocketMetrics(registry: Registry) {
  const { counter, tallied, gauge, histogram } = toMakers(registry);
  return {
    sockets: gauge("playhead_sockets", "Connected sockets by namespace.", ["namespace"]),
    socketCalls: tallied("playhead_socket_calls_total", "Calls over sockets by namespace, event and outcome.", [
      "namespace",
      "event",
      "outcome",
    ]),
    disconnects: counter("playhead_disconnects_total", "Sockets that disconnected, by reason.", ["reason"]),
    connectionsRefused: counter(
      "playhead_connections_refused_total",
      "Handshakes that were refused, by reason: origin or network (403, before there is a connection), connects (the connection asked too often and was closed), or the code that the client got.",
      ["reason"],
    ),
    oversizedFrames: counter("playhead_oversized_frames_total", "Sockets that were closed for a frame over 64 KB."),
    tokenChecks: counter(
      "playhead_token_checks_total",
      "Tokens checked, by kind (builtin, firebase) and outcome: ok, or the code of their refusal.",
      ["kind", "outcome"],
    ),
    googleRequests: counter(
      "playhead_google_requests_total",
      "Requests to Google for the check of tokens, by what was asked for (certificates, users) and outcome (ok, failed).",
      ["request", "outcome"],
    ),
    httpRequests: counter("playhead_http_requests_total", "HTTP requests by method, route and status.", [
      "method",
      "route",
      "status",
    ]),
    httpSeconds: histogram("playhead_http_request_seconds", "How long HTTP requests take, in seconds, by route.", [
      "route",
    ]),
  };
}

function createLiveMetrics(registry: Registry) {
  const { counter, gauge, maximum } = toMakers(registry);
  return {
    topics: gauge("playhead_topics", "Topics that somebody watches at this process."),
    frames: counter("playhead_frames_total", "Frames built, each once for all its receivers."),
    deliveries: counter("playhead_deliveries_total", "Frames handed to sockets."),
    slowSockets: gauge("playhead_slow_sockets", "Dashboards that are behind and are served alone."),
    relayActive: gauge("playhead_relay_active", "1 while this process relays notifications."),
    relayLagSeconds: maximum(
      "playhead_relay_lag_seconds",
      "How long the relay's last notification to itself was under way, in seconds.",
    ),
    resyncs: counter("playhead_resyncs_total", "How often the process read again everything that it shows."),
  };
}

function createStreamMetrics(registry: Registry) {
  const { counter, tallied, maximum } = toMakers(registry);
  return {
    streamValidations: tallied(
      "playhead_stream_validations_total",
      "Encoders that asked to publish, by outcome: valid, the reason of a refusal, or an error's code.",
      ["outcome"],
    ),
    streamDrops: counter(
      "playhead_stream_drops_total",
      "Live sessions whose media server was told to end them, by reason.",
      ["reason"],
    ),
    streamChanges: counter(
      "playhead_stream_changes_total",
      "Changes of keys and ends of sessions that this process has followed: the cached keys were read again.",
    ),
    streamsLive: maximum("playhead_streams_live", "Streams that are live, in all processes."),
  };
}

function createMirrorMetrics(registry: Registry) {
  const { counter, gauge, maximum } = toMakers(registry);
  return {
    mirrorActive: gauge("playhead_mirror_active", "1 while this process writes the mirror in Firestore."),
    mirrorWrites: counter("playhead_mirror_writes_total", "Documents written to Firestore, by kind: set or delete.", [
      "kind",
    ]),
    mirrorFailures: counter(
      "playhead_mirror_failures_total",
      "Failed attempts to write the mirror, by the code of gRPC, PostgreSQL or Node.",
      ["code"],
    ),
    mirrorLagSeconds: maximum(
      "playhead_mirror_lag_seconds",
      "The age of the oldest change that is not in Firestore, in seconds.",
    ),
    mirrorWaiting: maximum(
      "playhead_mirror_journal_rows",
      "Statements whose changes are not in Firestore; counted up to 100,000.",
    ),
  };
}

function createWebhookMetrics(registry: Registry) {
  const { counter, maximum } = toMakers(registry);
  return {
    webhookAttempts: counter(
      "playhead_webhook_attempts_total",
      "Attempts to deliver an event to a webhook by outcome: delivered, failed (another follows), dead (given up), gone (the receiver answered 410).",
      ["outcome"],
    ),
    webhooksWaiting: maximum("playhead_webhook_deliveries_waiting", "Deliveries to webhooks that wait for an attempt."),
    webhooksDead: maximum("playhead_webhook_deliveries_dead", "Deliveries to webhooks that were given up."),
  };
}

function createXapiMetrics(registry: Registry) {
  const { counter, maximum } = toMakers(registry);
  return {
    lrsRequests: counter(
      "playhead_lrs_requests_total",
      "Requests to the learning record store by outcome: taken, refused (one of the statements), failed (another attempt follows).",
      ["outcome"],
    ),
    xapiWaiting: maximum(
      "playhead_xapi_statements_waiting",
      "xAPI statements that the learning record store has not taken yet; counted up to 100,000.",
    ),
    xapiRefused: maximum(
      "playhead_xapi_statements_refused",
      "xAPI statements that the learning record store has refused; counted up to 100,000.",
    ),
    xapiLagSeconds: maximum(
      "playhead_xapi_lag_seconds",
      "The age of the oldest xAPI statement that waits for the learning record store, in seconds.",
    ),
  };
}

function toMakers(registry: Registry) {
  const registers = [registry];
  return {
    counter: <L extends string = never>(name: string, help: string, labelNames: readonly L[] = []) =>
      new Counter<L>({ name, help, labelNames, registers }),
    tallied: <L extends string>(name: string, help: string, labelNames: readonly L[]) =>
      new TalliedCounter<L>({ name, help, labelNames, registers }),
    gauge: <L extends string = never>(name: string, help: string, labelNames: readonly L[] = []) =>
      new Gauge<L>({ name, help, labelNames, registers }),
    /** A figure that every worker has alike: that of the workers together is the highest, not the sum. */
    maximum: (name: string, help: string) => new Gauge<never>({ name, help, aggregator: "max", registers }),
    histogram: <L extends string = never>(
      name: string,
      help: string,
      labelNames: readonly L[] = [],
      buckets = SECONDS,
    ) => new Histogram<L>({ name, help, labelNames, buckets, registers }),
  };
}
