import { createRequire } from "node:module";
import { randomPort, serveCommands } from "../../harness/child-process.ts";

/*
 * Starts soketi in this process, with limits that no load reaches: one call of its HTTP API may have as many events as an
 * update.
 */

interface Soketi {
  Server: new (options: object) => { start(): Promise<unknown> };
}

// It prints a banner, and the AWS SDK prints that it is out of maintenance.
console.log = () => undefined;
process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = "1";

async function start(): Promise<number> {
  const { Server } = createRequire(import.meta.url)("@soketi/soketi") as Soketi;
  const port = randomPort();
  await new Server({
    host: "127.0.0.1",
    port,
    shutdownGracePeriod: 0,
    eventLimits: { maxChannelsAtOnce: 1000, maxNameLength: 200, maxPayloadInKb: 100, maxBatchSize: 1000 },
    metrics: { enabled: false },
  }).start();
  return port;
}

serveCommands({ start });
