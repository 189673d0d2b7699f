import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { toProblem } from "../../src/http/problem.ts";
import { answerLater } from "../../src/uws/later-answers.ts";
import { type Fetch, serveFetch } from "../../src/uws/serve-fetch.ts";
import { App, type TemplatedApp, type us_listen_socket, us_socket_local_port } from "../../src/uws/uws.ts";

/*
 * A fetch function on uWebSockets.js, and connections over which a test sends exact bytes.
 */

export const MAX_BODY_BYTES = 100_000;

export interface FetchServer {
  /** What answers the requests; each test sets its own. */
  handler: Fetch;
  /** The lines that the server has logged. */
  logged: unknown[];
  /** How often the route of another library, at `/socket.io/`, was called. It answers at once. */
  othersCalls: number;
  port: number;
  url(path: string): string;
  /** Opens a raw connection. */
  open(): Promise<Socket>;
}

/** Starts the server before the tests of a file. After each test it must still answer. */
export function useFetchServer(): FetchServer {
  let app: TemplatedApp;
  const sockets = new Set<Socket>();
  const server: FetchServer = {
    handler: () => new Response(),
    logged: [],
    othersCalls: 0,
    port: 0,
    url: (path) => `http://127.0.0.1:${server.port}${path}`,
    async open() {
      const socket = connect(server.port, "127.0.0.1");
      sockets.add(socket);
      socket.on("error", () => undefined);
      await once(socket, "connect");
      return socket;
    },
  };

  beforeAll(async () => {
    app = App();
    answerLater(app, () => {
      app.any("/socket.io/", (res) => {
        server.othersCalls += 1;
        res.writeStatus("400 Bad Request");
        res.end("Socket.IO's own");
      });
    });
    serveFetch(app, (request, env) => server.handler(request, env), {
      toProblem,
      maxBodyBytes: MAX_BODY_BYTES,
      logger: pino({ level: "warn" }, { write: (line: string) => void server.logged.push(JSON.parse(line)) }),
    });
    server.port = await new Promise((resolve) => {
      app.listen("127.0.0.1", 0, (socket) => resolve(us_socket_local_port(socket as us_listen_socket)));
    });
  });

  afterAll(() => {
    app.close();
  });

  afterEach(async () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    server.handler = () => new Response("still here");
    expect(await (await fetch(server.url("/alive"))).text()).toBe("still here");
    server.logged.length = 0;
    server.othersCalls = 0;
  });
  return server;
}

/** Everything that the server sends until `until` matches or the connection ends. */
export function hear(socket: Socket, until?: RegExp): Promise<string> {
  return new Promise((resolve) => {
    let text = "";
    const end = () => resolve(text);
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      if (until?.test(text)) end();
    });
    socket.on("close", end);
  });
}

export function deferred<T>() {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
