import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import { TalliedCounter, type Tally } from "./tallied-counter.ts";

export type { Tally };

/** Every figure on `/metrics`, by its part. One registry a process; tests make their own. */
export type Metrics = ReturnType<typeof createMetrics>;

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  collectDefaultMetrics({ register: registry, prefix: "playhead_" });
  return {
    registry,
    heartbeats: new TalliedCounter({
      name: "playhead_heartbeats_total",
      help: "Heartbeats by outcome: ok, or the code they were refused with.",
      labelNames: ["outcome"],
      registers,
    }),
    ackSeconds: new Histogram({
      name: "playhead_heartbeat_ack_seconds",
      help: "From a heartbeat's arrival to its ack, in seconds.",
      buckets: SECONDS,
      registers,
    }),
    budgetCutMs: new Counter({
      name: "playhead_budget_cut_ms_total",
      help: "Milliseconds of claimed watching that passed the user's budget and were cut.",
      registers,
    }),
    pending: new Gauge({
      name: "playhead_heartbeats_pending",
      help: "Heartbeats that wait for the database.",
      registers,
    }),
    batchSize: new Histogram({
      name: "playhead_batch_size",
      help: "Rows in one flush.",
      buckets: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500],
      registers,
    }),
    flushSeconds: new Histogram({
      name: "playhead_flush_seconds",
      help: "How long a flush takes, locks and COMMIT included, in seconds.",
      buckets: SECONDS,
      registers,
    }),
    flushRetries: new Counter({
      name: "playhead_flush_retries_total",
      help: "Flushes repeated, by SQLSTATE.",
      labelNames: ["sqlstate"],
      registers,
    }),
    droppedBeats: new Counter({
      name: "playhead_beats_dropped_total",
      help: "Heartbeats acked and dropped because a reset came after them.",
      registers,
    }),
    cacheReads: new Counter({
      name: "playhead_cache_reads_total",
      help: "Reads of progress by what the cache had: hit, miss, bypassed (older than the reader may see), away.",
      labelNames: ["outcome"],
      registers,
    }),
    poolConnections: new Gauge({
      name: "playhead_db_pool_connections",
      help: "Connections of the pool by state: total, idle, waiting (callers in the queue); and how many it may have, max.",
      labelNames: ["state"],
      registers,
    }),
    querySeconds: new Histogram({
      name: "playhead_db_query_seconds",
      help: "How long statements take, locks included, in seconds, by pool: reads (and all else), or writers of heartbeats.",
      labelNames: ["pool"],
      buckets: SECONDS,
      registers,
    }),
    databaseBytes: new Gauge({
      name: "playhead_db_size_bytes",
      help: "pg_database_size(): what the database takes on its disk, in bytes.",
      aggregator: "max",
      registers,
    }),
    notificationQueue: new Gauge({
      name: "playhead_db_notification_queue_usage",
      help: "pg_notification_queue_usage(): the share of the NOTIFY queue in use, 0 to 1.",
      aggregator: "max",
      registers,
    }),
    sockets: new Gauge({
      name: "playhead_sockets",
      help: "Connected sockets by namespace.",
      labelNames: ["namespace"],
      registers,
    }),
    socketCalls: new TalliedCounter({
      name: "playhead_socket_calls_total",
      help: "Calls over sockets by namespace, event and outcome.",
      labelNames: ["namespace", "event", "outcome"],
      registers,
    }),
    disconnects: new Counter({
      name: "playhead_disconnects_total",
      help: "Sockets gone, by reason.",
      labelNames: ["reason"],
      registers,
    }),
    oversizedFrames: new Counter({
      name: "playhead_oversized_frames_total",
      help: "Sockets closed for a frame over 64 KB.",
      registers,
    }),
    tokenChecks: new Counter({
      name: "playhead_token_checks_total",
      help: "Tokens checked, by kind (builtin, firebase) and outcome: ok, or the code they were refused with.",
      labelNames: ["kind", "outcome"],
      registers,
    }),
    googleRequests: new Counter({
      name: "playhead_google_requests_total",
      help: "Requests to Google for tokens' sake, by what was asked for (certificates, users) and outcome (ok, failed).",
      labelNames: ["request", "outcome"],
      registers,
    }),
    topics: new Gauge({ name: "playhead_topics", help: "Topics that somebody watches here.", registers }),
    frames: new Counter({
      name: "playhead_frames_total",
      help: "Frames built, each once for all its receivers.",
      registers,
    }),
    deliveries: new Counter({ name: "playhead_deliveries_total", help: "Frames handed to sockets.", registers }),
    slowSockets: new Gauge({
      name: "playhead_slow_sockets",
      help: "Dashboards that are behind and served alone.",
      registers,
    }),
    relayActive: new Gauge({
      name: "playhead_relay_active",
      help: "1 while this process relays notifications.",
      registers,
    }),
    relayLagSeconds: new Gauge({
      name: "playhead_relay_lag_seconds",
      help: "How long the relay's last notification to itself was under way, in seconds.",
      aggregator: "max",
      registers,
    }),
    resyncs: new Counter({ name: "playhead_resyncs_total", help: "Times everything shown was read again.", registers }),
    streamValidations: new TalliedCounter({
      name: "playhead_stream_validations_total",
      help: "Encoders that asked to publish, by outcome: valid, why they were refused, or an error's code.",
      labelNames: ["outcome"],
      registers,
    }),
    streamDrops: new Counter({
      name: "playhead_stream_drops_total",
      help: "Live sessions that their media server was told to end, by reason.",
      labelNames: ["reason"],
      registers,
    }),
    streamsLive: new Gauge({
      name: "playhead_streams_live",
      help: "Streams that are live, in all processes.",
      aggregator: "max",
      registers,
    }),
    mirrorActive: new Gauge({
      name: "playhead_mirror_active",
      help: "1 while this process keeps the mirror in Firestore up.",
      registers,
    }),
    mirrorWrites: new Counter({
      name: "playhead_mirror_writes_total",
      help: "Documents written to Firestore, by kind: set or delete.",
      labelNames: ["kind"],
      registers,
    }),
    mirrorFailures: new Counter({
      name: "playhead_mirror_failures_total",
      help: "Tries to keep the mirror up that failed, by gRPC's code, PostgreSQL's or Node's.",
      labelNames: ["code"],
      registers,
    }),
    mirrorLagSeconds: new Gauge({
      name: "playhead_mirror_lag_seconds",
      help: "The age of the oldest change that is not in Firestore, in seconds.",
      aggregator: "max",
      registers,
    }),
    mirrorWaiting: new Gauge({
      name: "playhead_mirror_journal_rows",
      help: "Statements whose changes are not in Firestore; counted up to 100,000.",
      aggregator: "max",
      registers,
    }),
    oldestXminSeconds: new Gauge({
      name: "playhead_db_oldest_xmin_seconds",
      help: "How long the oldest transaction that writes has been seen running, in seconds: the mirror does not pass it.",
      aggregator: "max",
      registers,
    }),
    httpRequests: new Counter({
      name: "playhead_http_requests_total",
      help: "HTTP requests by method, route and status.",
      labelNames: ["method", "route", "status"],
      registers,
    }),
    httpSeconds: new Histogram({
      name: "playhead_http_request_seconds",
      help: "How long HTTP requests take, in seconds, by route.",
      labelNames: ["route"],
      buckets: SECONDS,
      registers,
    }),
  };
}
