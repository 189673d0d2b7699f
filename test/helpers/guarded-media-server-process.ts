import { createRequire } from "node:module";
import { guardNodeMediaServer } from "../../src/rtmp/node-media-server.ts";

/*
 * A node-media-server that asks Playhead: the process of guarded-media-server.ts. It says "ready", and every refusal
 * as a line of JSON; the rest of what it says is node-media-server's own.
 */

const { GUARD_OPTIONS, NMS_CONFIG, KEY_FROM_QUERY } = process.env as Record<string, string>;

const NodeMediaServer = createRequire(import.meta.url)("node-media-server");
const nms = new NodeMediaServer(JSON.parse(NMS_CONFIG as string));
const say = (line: string) => void process.stdout.write(`${line}\n`);

const guard = guardNodeMediaServer(nms, {
  ...JSON.parse(GUARD_OPTIONS as string),
  ...(KEY_FROM_QUERY ? { streamKey: ({ streamQuery }) => (streamQuery.key as string).trim() } : {}),
  onProblem: (problem) => say(`problem ${JSON.stringify(problem)}`),
  onRefused: (refusal) => say(`refused ${JSON.stringify(refusal)}`),
});
for (const event of ["postPublish", "donePublish", "donePlay"]) nms.on(event, () => say(`event ${event}`));
await nms.run();
say("ready");
process.once("SIGTERM", () => {
  // As a media server is to stop: first the guard, that nobody is left unaccounted for.
  void guard
    .close()
    .then(() => nms.stop())
    .then(() => process.exit(0));
});
