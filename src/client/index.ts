/** The public face of `playhead/client`, for browsers and Node. */
export type { ErrorCode, WireError } from "../errors.ts";
export type {
  CourseProgress,
  CourseProgressRow,
  FileProgress,
  FileProgressRow,
  Heartbeat,
  LessonProgress,
  PlayerState,
  Present,
  Stream,
  StreamStatus,
  TopicTotals,
  Update,
} from "../protocol/wire.ts";
export { type AttachOptions, attachPlayer } from "./attach-player.ts";
export type { BeatStorage } from "./beat-storage.ts";
export type { ConnectionState } from "./connection.ts";
export {
  createDashboard,
  type Dashboard,
  type DashboardOptions,
  type Subscription,
  type WatchedTopic,
} from "./dashboard.ts";
export { createPlayer } from "./player.ts";
export type { CutReason, Player, PlayerError, PlayerEvents, PlayerOptions, Report } from "./player-api.ts";
export type { TokenSource } from "./token-source.ts";
export { extrapolatePosition, type PresentView, type TopicView } from "./topic-state.ts";
