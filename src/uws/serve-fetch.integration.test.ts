import { once } from "node:events";
import { Agent, request as httpRequest } from "node:http";
import { connect, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { toProblem } from "../http/problem.ts";
import { type Fetch, serveFetch } from "./serve-fetch.ts";
import { App, type TemplatedApp, type us_listen_socket, us_socket_local_port } from "./uws.ts";

const MAX_BODY_BYTES = 100_000;

let app: TemplatedApp;
let port: number;
let handler: Fetch;
const logged: unknown[] = [];
const sockets = new Set<Socket>();

beforeAll(async () => {
  app = App();
  app.get("/socket.io/", (res) => {
    res.end("Socket.IO's own");
  });
  serveFetch(app, (request, env) => handler(request, env), {
    toProblem,
    maxBodyBytes: MAX_BODY_BYTES,
    logger: pino({ level: "warn" }, { write: (line: string) => void logged.push(JSON.parse(line)) }),
  });
  port = await new Promise((resolve) => {
    app.listen("127.0.0.1", 0, (socket) => resolve(us_socket_local_port(socket as us_listen_socket)));
  });
});

afterAll(() => {
  app.close();
});

afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  handler = () => new Response("still here");
  expect(await (await fetch(`http://127.0.0.1:${port}/alive`)).text()).toBe("still here");
  logged.length = 0;
});

/** A raw connection, over which a test sends exact bytes. */
async function open(): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  sockets.add(socket);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  return socket;
}

/** Everything that the server sends until `until` matches or the connection ends. */
function hear(socket: Socket, until?: RegExp): Promise<string> {
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

const url = (path: string) => `http://127.0.0.1:${port}${path}`;

describe("a request", () => {
  it("reaches the fetch function with method, path, query, headers, address and body", async () => {
    handler = async (request, env) =>
      Response.json({
        method: request.method,
        url: request.url,
        header: request.headers.get("x-test"),
        body: await request.text(),
        address: env.remoteAddress,
      });
    const response = await fetch(url("/a%20b/%C3%BC?q=1&r=%2F"), {
      method: "PUT",
      headers: { "x-test": "yes" },
      body: "hällo",
    });
    expect(await response.json()).toEqual({
      method: "PUT",
      url: url("/a%20b/%C3%BC?q=1&r=%2F"),
      header: "yes",
      body: "hällo",
      address: "127.0.0.1",
    });
  });

  it("reaches the fetch function on every path except Socket.IO's", async () => {
    handler = (request) => new Response(new URL(request.url).pathname);
    expect(await (await fetch(url("/socket.io/?EIO=4"))).text()).toBe("Socket.IO's own");
    expect(await (await fetch(url("/socket.io/other"))).text()).toBe("/socket.io/other");
    expect(await (await fetch(url("/a/b/c/d/e/f"))).text()).toBe("/a/b/c/d/e/f");
    expect(await (await fetch(url("/"))).text()).toBe("/");
  });

  it("may have a body in chunks, without an announced length", async () => {
    handler = async (request) => new Response(String((await request.arrayBuffer()).byteLength));
    const body = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 50; i += 1) controller.enqueue(new Uint8Array(1000));
        controller.close();
      },
    });
    const response = await fetch(url("/"), { method: "POST", body, duplex: "half" } as RequestInit);
    expect(await response.text()).toBe("50000");
  });

  it("reaches the fetch function before its body has come completely", async () => {
    const begun = deferred<string>();
    handler = async (request) => {
      const reader = (request.body as ReadableStream<Uint8Array>).getReader();
      begun.resolve(Buffer.from((await reader.read()).value ?? []).toString());
      return new Response(Buffer.from((await reader.read()).value ?? []).toString());
    };
    const socket = await open();
    socket.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst");
    expect(await begun.promise).toBe("first");
    const answer = hear(socket, /later$/);
    socket.write("later");
    expect(await answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*later$/);
  });

  it("may follow another on the same connection, also one whose body was not read", async () => {
    handler = (request) => new Response(new URL(request.url).pathname);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number | undefined>();
    for (let i = 0; i < 20; i += 1) {
      const body = await new Promise<string>((resolve, reject) => {
        const outgoing = httpRequest(
          { port, agent, path: `/${i}`, method: i % 2 ? "POST" : "GET" },
          async (incoming) => {
            ports.add(incoming.socket.localPort);
            resolve((await incoming.toArray()).join(""));
          },
        );
        outgoing.on("error", reject);
        outgoing.end(i % 2 ? "x".repeat(5000) : undefined);
      });
      expect(body).toBe(`/${i}`);
    }
    expect(ports.size).toBe(1);
    agent.destroy();
  });

  it("may be pipelined: the first is answered, or the connection closed", async () => {
    handler = async (request) => {
      await turn();
      return new Response(new URL(request.url).pathname);
    };
    for (let i = 0; i < 50; i += 1) {
      const socket = await open();
      const answer = hear(socket, /\/second$/);
      socket.write("GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n");
      expect(await answer).toMatch(/^(HTTP\/1\.1 200 OK[\s\S]*)?$/);
    }
  });

  it.each([
    ["a host that would move the path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400],
    ["a method undici has no request for", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 501],
  ])("is refused with a problem document if it has %s", async (_, text, status) => {
    const socket = await open();
    socket.write(text);
    const answer = await hear(socket);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toContain("application/problem+json");
    expect(answer).toContain('"code":"bad_request"');
  });

  it.each(["GET http://elsewhere/ HTTP/1.1", "OPTIONS * HTTP/1.1", "\u0000\u0001\u0002", "GET /", "GET / HTTP/9.9"])(
    "survives %j",
    async (line) => {
      const socket = await open();
      const answer = hear(socket, /\r\n\r\n/);
      socket.end(`${line}\r\nHost: x\r\n\r\n`);
      expect(await answer).toMatch(/^(HTTP\/1\.1 \d{3}[\s\S]*)?$/);
    },
  );
});

describe("a body that is too long", () => {
  it("is refused before any of it is read, if its length is announced", async () => {
    const called = vi.fn(() => new Response());
    handler = called;
    const socket = await open();
    socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${MAX_BODY_BYTES + 1}\r\n\r\n`);
    const answer = await hear(socket);
    expect(answer).toMatch(/^HTTP\/1\.1 413 Payload Too Large/);
    expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4))).toMatchObject({
      code: "bad_request",
      status: 413,
    });
    expect(called).not.toHaveBeenCalled();
  });

  it("is cut off at the limit if it comes in chunks, and the fetch function's read fails", async () => {
    const failed = deferred<unknown>();
    handler = async (request) => {
      await request.text().catch(failed.resolve);
      return new Response("too late");
    };
    const socket = await open();
    const answer = hear(socket);
    socket.write("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (let i = 0; i <= MAX_BODY_BYTES / 10_000; i += 1) socket.write(`2710\r\n${"x".repeat(10_000)}\r\n`);
    expect(await answer).toMatch(/^HTTP\/1\.1 413 [\s\S]*problem\+json/);
    expect(await failed.promise).toMatchObject({ code: "bad_request", status: 413 });
  });

  it("is longer than the limit: a body of exactly the limit is accepted", async () => {
    handler = async (request) => new Response(String((await request.text()).length));
    const response = await fetch(url("/"), { method: "POST", body: "x".repeat(MAX_BODY_BYTES) });
    expect(await response.text()).toBe(String(MAX_BODY_BYTES));
  });
});

describe("a path that the URL standard changes", () => {
  it.each(["/.\\metrics", "/./metrics", "/a/../metrics", "/%2e/metrics", "/a\\..\\metrics", "/x|\\y", "/\u00e9"])(
    "is refused, because a proxy in front takes %s for another path",
    async (path) => {
      handler = () => new Response("secret");
      const socket = await open();
      const heard = hear(socket);
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      expect(await heard).toMatch(/^HTTP\/1.1 400 /);
    },
  );
});

describe("a request whose length, encoding or host is ambiguous", () => {
  const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";

  it.each([
    ["two lengths", `Content-Length: 0\r\nContent-Length: ${hidden.length}\r\n`],
    ["an empty length", "Content-Length: \r\n"],
    ["a length and an encoding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"],
    ["an unknown encoding", "Transfer-Encoding: gzip\r\n"],
    ["two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"],
    ["two hosts", "Host: y\r\n"],
  ])("is refused and its connection closed with %s, and no request behind it runs", async (_, headers) => {
    const paths: string[] = [];
    handler = (request) => {
      paths.push(new URL(request.url).pathname);
      return new Response("ran");
    };
    const socket = await open();
    const heard = hear(socket);
    socket.write(`POST /first HTTP/1.1\r\nHost: x\r\n${headers}\r\n${hidden}`);
    expect(await heard).not.toMatch(/^HTTP\/1.1 2/);
    expect(paths).toEqual([]);
  });
});

describe("the body of a request that is answered before it is read", () => {
  const head = (length: number) => `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`;

  it.each([401, 204])("is dropped, and the connection is closed after the answer with status %d", async (status) => {
    handler = () => new Response(status === 204 ? null : "no", { status });
    const socket = await open();
    const heard = hear(socket);
    socket.write(head(90_000) + "x".repeat(1000));
    // The rest never comes: the server does not wait for it.
    expect(await heard).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });

  it("keeps the connection if the body is short", async () => {
    handler = () => new Response("no", { status: 401 });
    const socket = await open();
    for (let i = 0; i < 2; i++) {
      const heard = hear(socket, /no$/);
      socket.write(`${head(5)}xxxxx`);
      expect(await heard).toMatch(/^HTTP\/1.1 401 /);
      socket.removeAllListeners("data");
    }
  });

  it("is read from the socket no faster than by the fetch function, and arrives complete", async () => {
    let read: () => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      read = resolve;
    });
    handler = async (request) => {
      await asked;
      return new Response(String((await request.text()).length));
    };
    const socket = await open();
    const heard = hear(socket, /95000$/);
    socket.write(head(95_000) + "x".repeat(70_000));
    socket.write("x".repeat(25_000));
    await turn();
    read();
    expect(await heard).toMatch(/95000$/);
  });
});

describe("a response", () => {
  it("has a small body in one piece, with its length", async () => {
    handler = () => Response.json({ ok: true }, { status: 201, headers: { "x-test": "yes" } });
    const response = await fetch(url("/"));
    expect(response.status).toBe(201);
    expect(response.headers.get("content-length")).toBe("11");
    expect(response.headers.get("x-test")).toBe("yes");
    expect(await response.json()).toEqual({ ok: true });
  });

  it("keeps two cookies apart", async () => {
    handler = () =>
      new Response(null, {
        headers: [
          ["set-cookie", "a=1"],
          ["set-cookie", "b=2"],
        ],
      });
    expect((await fetch(url("/"))).headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  });

  it("to HEAD has the length and no body, and leaves the connection usable", async () => {
    handler = (request) =>
      request.method === "HEAD" ? new Response(null, { headers: { "content-length": "1234" } }) : new Response("after");
    const socket = await open();
    const head = hear(socket, /\r\n\r\n/);
    socket.write("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(await head).toMatch(/content-length: 1234/i);
    const after = hear(socket, /after$/);
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(await after).toMatch(/^HTTP\/1\.1 200 OK/);
  });

  it.each([204, 304])("with status %i has neither body nor length", async (status) => {
    handler = () => new Response(null, { status });
    const socket = await open();
    const answer = hear(socket, /\r\n\r\n/);
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(await answer).not.toMatch(/content-length|transfer-encoding/i);
  });

  it("without a body has a length of 0", async () => {
    handler = () => new Response(null, { status: 200 });
    expect((await fetch(url("/"))).headers.get("content-length")).toBe("0");
    handler = () => new Response("", { status: 404 });
    expect((await fetch(url("/"))).headers.get("content-length")).toBe("0");
  });

  it("is streamed while its body is still being made", async () => {
    const more = deferred<void>();
    handler = () =>
      new Response(
        new ReadableStream({
          async start(controller) {
            controller.enqueue(Buffer.from("first "));
            await more.promise;
            controller.enqueue(Buffer.from("second"));
            controller.close();
          },
        }),
      );
    const response = await fetch(url("/"));
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("first ");
    more.resolve();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("second");
    expect((await reader.read()).done).toBe(true);
  });

  it.each([
    ["of a known length", true],
    ["of an unknown length", false],
  ])("waits for a slow client instead of buffering a body %s", async (_, sized) => {
    const total = 40_000_000;
    const source = counted(total);
    handler = () => new Response(source.stream, sized ? { headers: { "content-length": String(total) } } : {});
    const socket = await open();
    socket.pause();
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await source.stalled();
    expect(source.made()).toBeLessThan(total / 2);
    let received = 0;
    const done = new Promise<void>((resolve) => {
      socket.on("data", (chunk) => {
        received += chunk.byteLength;
        if (received >= total + 50) resolve();
      });
    });
    socket.resume();
    await done;
    expect(source.made()).toBe(total);
  });

  it.each([
    ["shorter", 50, 100],
    ["longer", 100, 50],
  ])("closes the connection if its body is %s than announced", async (_, actual, announced) => {
    handler = () => new Response(counted(actual).stream, { headers: { "content-length": String(announced) } });
    await expect(fetch(url("/")).then((response) => response.text())).rejects.toThrow();
  });

  it("closes the connection if its body fails half-way, and logs the failure", async () => {
    handler = () =>
      new Response(
        new ReadableStream({
          async pull(controller) {
            controller.enqueue(Buffer.alloc(100));
            await turn();
            await turn();
            controller.error(new Error("the disk is gone"));
          },
        }),
      );
    await expect(fetch(url("/")).then((response) => response.text())).rejects.toThrow();
    await vi.waitFor(() => expect(logged).toHaveLength(1));
  });

  it("shows nothing of an error that the fetch function threw", async () => {
    handler = () => {
      throw new Error("password=hunter2");
    };
    const response = await fetch(url("/"));
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("hunter2");
    expect(logged).toHaveLength(1);
  });
});

describe("the server", () => {
  const ROUNDS = 400;

  it("survives clients that leave before they have sent all headers", async () => {
    await Promise.all(
      Array.from({ length: ROUNDS }, async (_, i) => {
        const socket = await open();
        socket.write("POST /cut HTTP/1.1\r\nHost: x\r\nContent-Length: 10".slice(0, 1 + (i % 50)));
        await turn();
        i % 2 ? socket.resetAndDestroy() : socket.destroy();
      }),
    );
  });

  it("survives clients that leave within a body, and fails the read of the body", async () => {
    let failed = 0;
    handler = async (request) => {
      await request.text().catch(() => {
        failed += 1;
      });
      await turn();
      return new Response("for nobody");
    };
    for (let batch = 0; batch < 4; batch += 1) {
      await Promise.all(
        Array.from({ length: ROUNDS / 4 }, async (_, i) => {
          const socket = await open();
          socket.write(`POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n${"x".repeat(i * 100)}`);
          await turn();
          i % 2 ? socket.resetAndDestroy() : socket.destroy();
        }),
      );
    }
    await vi.waitFor(() => expect(failed).toBeGreaterThanOrEqual(ROUNDS / 2));
  });

  it("survives clients that leave while the fetch function works, whatever it does then", async () => {
    const pending = new Set<() => void>();
    let entered = 0;
    handler = async (request) => {
      entered += 1;
      await new Promise<void>((resolve) => pending.add(resolve));
      const kind = Number(new URL(request.url).pathname.slice(1)) % 4;
      if (kind === 0) throw new Error("after the client left");
      if (kind === 1) return new Response(counted(500_000).stream, { headers: { "content-length": "500000" } });
      if (kind === 2) return new Response(counted(500_000).stream);
      return new Response("for nobody");
    };
    const opened: Socket[] = [];
    for (let i = 0; i < ROUNDS; i += 1) {
      const socket = await open();
      socket.write(`GET /${i} HTTP/1.1\r\nHost: x\r\n\r\n`);
      opened.push(socket);
    }
    await vi.waitFor(() => expect(entered).toBe(ROUNDS));
    await Promise.all(
      opened.map(async (socket, i) => {
        i % 2 ? socket.resetAndDestroy() : socket.destroy();
        await once(socket, "close");
      }),
    );
    for (const finish of pending) finish();
  });

  it.each([
    ["of a known length", true],
    ["of an unknown length", false],
  ])("cancels a body %s when its client leaves", async (_, sized) => {
    const total = 40_000_000;
    const sources: ReturnType<typeof counted>[] = [];
    handler = () => {
      const source = counted(total);
      sources.push(source);
      return new Response(source.stream, sized ? { headers: { "content-length": String(total) } } : {});
    };
    for (let batch = 0; batch < 10; batch += 1) {
      await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const socket = await open();
          socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
          if (i % 4) await once(socket, "data");
          i % 2 ? socket.resetAndDestroy() : socket.destroy();
        }),
      );
    }
    await vi.waitFor(
      () => expect(sources.every((source) => source.cancelled() || source.made() === total)).toBe(true),
      5000,
    );
    expect(sources.filter((source) => source.cancelled()).length).toBeGreaterThan(sources.length / 2);
  });
});

function deferred<T>() {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}

/** A body of `total` bytes that counts the bytes it was asked for. */
function counted(total: number) {
  const chunk = new Uint8Array(50_000);
  let made = 0;
  let cancelled = false;
  const stream = new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const part = chunk.subarray(0, Math.min(chunk.byteLength, total - made));
        made += part.byteLength;
        controller.enqueue(part);
        if (made === total) controller.close();
      },
      cancel() {
        cancelled = true;
      },
    },
    { highWaterMark: 0 },
  );
  return {
    stream,
    made: () => made,
    cancelled: () => cancelled,
    /** Resolves when no more bytes are asked for. */
    async stalled() {
      let before = -1;
      await vi.waitFor(
        () => {
          const now = made;
          const still = now > 0 && now === before;
          before = now;
          expect(still).toBe(true);
        },
        { interval: 100, timeout: 5000 },
      );
    },
  };
}
