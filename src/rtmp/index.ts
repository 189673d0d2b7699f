/** The exports of `playhead/rtmp`, for media servers on Node that ask Playhead who may publish. */
export type { DropReason, Refusal, Stream, StreamFigures, StreamStatus } from "../protocol/stream.ts";
export type { PublishSession } from "./publish-session.ts";
export {
  createRtmpClient,
  type Denial,
  type RtmpClient,
  type RtmpClientOptions,
  type ValidateRequest,
  type Validation,
} from "./rtmp-client.ts";
export type { RtmpProblem } from "./rtmp-connection.ts";
