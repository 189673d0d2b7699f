import { createRequire } from "node:module";
import { guardNodeMediaServer } from "../../src/rtmp/node-media-server.ts";

/*
 * The process of guarded-media-server.ts: a node-media-server that asks Playhead. It prints "ready", and a line of JSON
 * for every refusal. All other lines are node-media-server's.
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
  // A media server has to close the guard first, so that Playhead hears the end of every encoder.
  void guard
    .close()
    .then(() => nms.stop())
    .then(() => process.exit(0));
});
