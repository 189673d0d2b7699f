import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Namespace, Server, type Socket } from "socket.io";

type Reply = (answer: object) => void;
export type FakeHandler = (payload: never, reply: Reply, socket: Socket) => void;

/** A server that answers as the test says, to see what the SDK does when a server misbehaves. */
export interface FakeProgressServer {
  url: string;
  io: Server;
  /** Every call that arrived, in order. */
  calls: { event: string; payload: never }[];
  /** Answers an event from now on. An event without a handler gets no answer. */
  handle(event: string, handler: FakeHandler): void;
  /** The error that handshakes are refused with; null lets them in. */
  refuse: { code: string; retryAfterMs?: number } | null;
  /** The answer to every request over HTTP; null for 404. */
  overHttp: object | null;
  /** The tokens of all handshakes, in order. */
  tokens: string[];
  /** Stops listening and ends every connection. `start` listens again on the same port. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

export async function startFakeProgressServer(): Promise<FakeProgressServer> {
  const handlers = new Map<string, FakeHandler>();
  let http: HttpServer;
  let port = 0;

  function serve(namespace: Namespace): void {
    namespace.use((socket, next) => {
      fake.tokens.push(String(socket.handshake.auth.token));
      next(fake.refuse ? Object.assign(new Error(fake.refuse.code), { data: fake.refuse }) : undefined);
    });
    namespace.on("connection", (socket) => {
      socket.onAny((event: string, payload: unknown, reply: Reply) => {
        fake.calls.push({ event, payload: payload as never });
        handlers.get(event)?.(payload as never, reply, socket);
      });
    });
  }

  const fake: FakeProgressServer = {
    url: "",
    io: new Server(),
    calls: [],
    refuse: null,
    overHttp: null,
    tokens: [],
    handle: (event, handler) => void handlers.set(event, handler),
    async start() {
      http = createServer((_, response) =>
        fake.overHttp ? response.end(JSON.stringify(fake.overHttp)) : response.writeHead(404).end(),
      );
      fake.io = new Server(http, { transports: ["websocket"] });
      serve(fake.io.of("/player"));
      serve(fake.io.of("/dashboard"));
      await new Promise<void>((resolve) => http.listen(port, "127.0.0.1", resolve));
      port = (http.address() as AddressInfo).port;
      fake.url = `http://127.0.0.1:${port}`;
    },
    async stop() {
      await fake.io.close();
    },
  };
  await fake.start();
  return fake;
}
