import type { Router } from "../router.ts";
import { addHeartbeats, type HeartbeatParts } from "./heartbeats.ts";
import { addLearnerLists, type LearnerListParts } from "./learner-lists.ts";
import { addLearners, type LearnerParts } from "./learners.ts";
import { addLegacyProgress, type LegacyParts } from "./legacy-progress.ts";
import { addOwnProgress, type OwnProgressParts } from "./own-progress.ts";

/** Adds the routes of progress. */
export function addProgressRoutes(
  router: Router,
  parts: HeartbeatParts & OwnProgressParts & LegacyParts & LearnerListParts & LearnerParts,
): void {
  addHeartbeats(router, parts);
  addOwnProgress(router, parts);
  addLegacyProgress(router, parts);
  addLearnerLists(router, parts);
  addLearners(router, parts);
}
