import { setTimeout as pause } from "node:timers/promises";
import { serveCommands } from "../harness/child-process.ts";
import { AT_ONCE, type LoadPlan, type LoadResult, OK, runLoad } from "../harness/load.ts";
import { createMint, toUserId } from "../load/catalogue.ts";
import { openSocketIo, type SocketIoClient } from "../load/socketio-client.ts";

/*
 * A process with idle connections: they connect, answer pings, and stay.
 */

export interface LetInPlan extends LoadPlan {
  firstUser: number;
  operations: number;
  /** Null: they join no namespace. */
  namespace: "/player" | null;
}

/** The kernel takes longer to find a free port when an address has few left. */
const ADDRESSES = 4;

const clients: SocketIoClient[] = [];
let open = 0;
let attempts = 0;

/** An operation is a connection: its latency counts from the TCP handshake until the namespace let it in. */
async function load(plan: LetInPlan & { url: string; secret: string }): Promise<LoadResult> {
  const { url, secret, namespace, firstUser, operations } = plan;
  const mint = createMint(secret);
  // Before the clock starts, because users get their tokens before they connect.
  const tokens: string[] = [];
  for (let i = 0; i < operations; i++) tokens.push(await mint(toUserId(firstUser + i)));
  const onClose = () => {
    open -= 1;
  };
  return await runLoad(plan, AT_ONCE, (_, answered) => {
    const localAddress = `127.0.0.${2 + (attempts++ % ADDRESSES)}`;
    openSocketIo({ url, namespace, auth: { token: tokens.pop() }, localAddress, onClose }).then(
      (client) => {
        clients.push(client);
        open += 1;
        answered(OK);
      },
      (error: Error) => answered(error.message),
    );
  });
}

async function close(): Promise<void> {
  for (const client of clients.splice(0)) client.close();
  while (open > 0) await pause(20);
}

serveCommands({ load, countOpen: () => open, close });
