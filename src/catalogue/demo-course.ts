import type { CourseTree } from "../protocol/course.ts";
import type { Catalogue } from "./catalogue.ts";

/** The length of the demo's clip in seconds (src/dashboard/clip.ts). */
const CLIP_SECONDS = 24;

export const DEMO_COURSE_ID = "demo";
export const DEMO_INSTRUCTOR_ID = "demo-instructor";

const DEMO_COURSE: CourseTree = {
  title: "Getting to know Playhead",
  instructorId: DEMO_INSTRUCTOR_ID,
  lessons: [
    {
      id: "demo-start",
      title: "First steps",
      files: [
        { id: "demo-intro", title: "What a heartbeat is", durationSeconds: CLIP_SECONDS },
        { id: "demo-watching", title: "Watched is what was played", durationSeconds: CLIP_SECONDS },
      ],
    },
    {
      id: "demo-dashboards",
      title: "Seeing it live",
      files: [{ id: "demo-live", title: "A dashboard that follows", durationSeconds: CLIP_SECONDS }],
    },
  ],
};

/** Makes the demo course if it does not exist. If somebody has changed it, it stays as it is. */
export async function seedDemoCourse(catalogue: Pick<Catalogue, "findCourse" | "put">): Promise<void> {
  if ((await catalogue.findCourse(DEMO_COURSE_ID)) === null) await catalogue.put(DEMO_COURSE_ID, DEMO_COURSE);
}
