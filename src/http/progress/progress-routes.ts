import type { HttpApp } from "../http-app.ts";
import { addHeartbeats, type HeartbeatParts } from "./heartbeats.ts";
import { addLearners, type LearnerParts } from "./learners.ts";
import { addLegacyProgress, type LegacyParts } from "./legacy-progress.ts";
import { addOwnProgress, type OwnProgressParts } from "./own-progress.ts";

/** Adds the routes of progress. */
export function addProgressRoutes(
  app: HttpApp,
  parts: HeartbeatParts & OwnProgressParts & LegacyParts & LearnerParts,
): void {
  addHeartbeats(app, parts);
  addOwnProgress(app, parts);
  addLegacyProgress(app, parts);
  addLearners(app, parts);
}
