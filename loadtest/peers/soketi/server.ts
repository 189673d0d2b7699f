import { createRequire } from "node:module";
import { type AddressInfo, createServer } from "node:net";
import { serveCommands } from "../../harness/worker.ts";

/*
 * soketi in a process of its own, by its own class, with the limits that a load would meet out of the way: as many
 * events in a call of its HTTP API as a round has.
 */

interface Soketi {
  Server: new (options: object) => { start(): Promise<unknown> };
}

// It greets, and one of its dependencies says that it has been given up.
console.log = () => undefined;
process.env.AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE = "1";

async function start(): Promise<{ port: number; pid: number }> {
  const { Server } = createRequire(import.meta.url)("@soketi/soketi") as Soketi;
  const port = await findFreePort();
  await new Server({
    host: "127.0.0.1",
    port,
    shutdownGracePeriod: 0,
    eventLimits: { maxChannelsAtOnce: 1000, maxNameLength: 200, maxPayloadInKb: 100, maxBatchSize: 1000 },
    metrics: { enabled: false },
  }).start();
  return { port, pid: process.pid };
}

async function findFreePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function cpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

serveCommands({ start, cpu });
