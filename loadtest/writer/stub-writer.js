import { pathToFileURL } from "node:url";

/*
 * Node loads this file before the server (`--import`). It replaces the server's writer by one that answers at once and
 * writes nothing, so that a heartbeat costs only the work of sockets and service.
 */

const { ProgressWriter } = await import(new URL("./progress/progress-writer.js", pathToFileURL(process.argv[1])).href);

const BEAT_MS = 4000;
const DURATION_SECONDS = 360_000;
let version = 0;

/** @this {object} @param {import("../../src/progress/pending-beat.ts").PendingBeat[]} entries */
ProgressWriter.prototype.write = async function write(entries) {
  const lastWatched = new Date().toISOString();
  return entries.map(({ userId, fileId, courseId, position, played }) => {
    const seconds = position.positionMs / 1000;
    const written = ++version;
    return {
      type: "written",
      dropped: false,
      version: written,
      toBrief: ({ held }, nextBeatMs) =>
        held === 0 ? null : { version: written, base: held, laterMs: BEAT_MS, nextBeatMs },
      progress: {
        userId,
        fileId,
        lessonId: `${courseId}-lesson`,
        courseId,
        position: seconds,
        resumeAt: Math.max(0, seconds - 2),
        duration: DURATION_SECONDS,
        watched: played.map(([from, to]) => [from / 1000, to / 1000]),
        watchedSeconds: seconds,
        watchTimeSeconds: seconds,
        percentage: 0,
        completed: false,
        lastWatched,
        epoch: 0,
        version: written,
      },
    };
  });
};
