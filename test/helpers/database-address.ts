import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A TCP proxy: the address of a database that moves from one server to another. */
export interface DatabaseAddress {
  /** The URL of a database behind this address. */
  urlOf(serverUrl: string): string;
  /** New connections lead to this port. Open ones are cut. */
  moveTo(port: number): void;
  /** The ports that new connections lead to, one after the other in turns; open ones stay. */
  spreadOver(ports: readonly number[]): void;
  stop(): Promise<void>;
}

/** Opens an address on a free port. */
export async function openDatabaseAddress(port: number): Promise<DatabaseAddress> {
  let targets: readonly number[] = [port];
  let turn = 0;
  const open = new Set<Socket>();
  const server = createServer((incoming) => {
    const outgoing = connect(targets[turn++ % targets.length] as number, "127.0.0.1");
    for (const [side, other] of [
      [incoming, outgoing],
      [outgoing, incoming],
    ] as const) {
      open.add(side);
      side.pipe(other);
      side.on("error", () => undefined); // its close follows
      side.on("close", () => {
        open.delete(side);
        other.destroy();
      });
    }
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const own = String((server.address() as AddressInfo).port);
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  return {
    urlOf: (serverUrl) => serverUrl.replace(/:\d+\//, `:${own}/`),
    moveTo(target) {
      targets = [target];
      cut();
    },
    spreadOver(ports) {
      targets = ports;
    },
    async stop() {
      server.close();
      cut();
      await once(server, "close");
    },
  };
}
