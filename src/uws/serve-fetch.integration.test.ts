import { Agent, request as httpRequest } from "node:http";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { deferred, hear, useFetchServer } from "../../test/helpers/fetch-server.ts";

const server = useFetchServer();

describe("a request", () => {
  it("reaches the fetch function with method, path, query, headers, address and body", async () => {
    server.handler = async (request, env) =>
      Response.json({
        method: request.method,
        url: request.url,
        header: request.headers.get("x-test"),
        body: await request.text(),
        address: env.remoteAddress,
      });
    const response = await fetch(server.url("/a%20b/%C3%BC?q=1&r=%2F"), {
      method: "PUT",
      headers: { "x-test": "yes" },
      body: "hällo",
    });
    expect(await response.json()).toEqual({
      method: "PUT",
      url: server.url("/a%20b/%C3%BC?q=1&r=%2F"),
      header: "yes",
      body: "hällo",
      address: "127.0.0.1",
    });
  });

  it("reaches the fetch function on every path except Socket.IO's", async () => {
    server.handler = (request) => new Response(new URL(request.url).pathname);
    expect(await (await fetch(server.url("/socket.io/?EIO=4"))).text()).toBe("Socket.IO's own");
    expect(await (await fetch(server.url("/socket.io/other"))).text()).toBe("/socket.io/other");
    expect(await (await fetch(server.url("/a/b/c/d/e/f"))).text()).toBe("/a/b/c/d/e/f");
    expect(await (await fetch(server.url("/"))).text()).toBe("/");
  });

  it("may have a body in chunks, without an announced length", async () => {
    server.handler = async (request) => new Response(String((await request.arrayBuffer()).byteLength));
    const body = new ReadableStream({
      start(controller) {
        for (let i = 0; i < 50; i += 1) controller.enqueue(new Uint8Array(1000));
        controller.close();
      },
    });
    const response = await fetch(server.url("/"), { method: "POST", body, duplex: "half" } as RequestInit);
    expect(await response.text()).toBe("50000");
  });

  it("reaches the fetch function before its body has come completely", async () => {
    const begun = deferred<string>();
    server.handler = async (request) => {
      const reader = (request.body as ReadableStream<Uint8Array>).getReader();
      begun.resolve(Buffer.from((await reader.read()).value ?? []).toString());
      return new Response(Buffer.from((await reader.read()).value ?? []).toString());
    };
    const socket = await server.open();
    socket.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nfirst");
    expect(await begun.promise).toBe("first");
    const answer = hear(socket, /later$/);
    socket.write("later");
    expect(await answer).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*later$/);
  });

  it("may follow another on the same connection, also one whose body was not read", async () => {
    server.handler = (request) => new Response(new URL(request.url).pathname);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number | undefined>();
    for (let i = 0; i < 20; i += 1) {
      const body = await new Promise<string>((resolve, reject) => {
        const outgoing = httpRequest(
          { port: server.port, agent, path: `/${i}`, method: i % 2 ? "POST" : "GET" },
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
    server.handler = async (request) => {
      await turn();
      return new Response(new URL(request.url).pathname);
    };
    for (let i = 0; i < 50; i += 1) {
      const socket = await server.open();
      const answer = hear(socket, /\/second$/);
      socket.write("GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHost: x\r\n\r\n");
      expect(await answer).toMatch(/^(HTTP\/1\.1 200 OK[\s\S]*)?$/);
    }
  });

  it.each([
    ["a host that would move the path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400],
    ["a method undici has no request for", "TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", 501],
  ])("is refused with a problem document if it has %s", async (_, text, status) => {
    const socket = await server.open();
    socket.write(text);
    const answer = await hear(socket);
    expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(answer).toContain("application/problem+json");
    expect(answer).toContain('"code":"bad_request"');
  });

  it.each(["GET http://elsewhere/ HTTP/1.1", "OPTIONS * HTTP/1.1", "\u0000\u0001\u0002", "GET /", "GET / HTTP/9.9"])(
    "survives %j",
    async (line) => {
      const socket = await server.open();
      const answer = hear(socket, /\r\n\r\n/);
      socket.end(`${line}\r\nHost: x\r\n\r\n`);
      expect(await answer).toMatch(/^(HTTP\/1\.1 \d{3}[\s\S]*)?$/);
    },
  );
});

describe("requests that follow each other without waiting for answers", () => {
  const MANY = 5000;

  it.each([
    ["a path that is answered without waiting", "GET /first"],
    ["a method that is refused", "TRACE /first"],
    ["a path that is refused", "GET /./first"],
    ["the route of another library", "GET /socket.io/"],
  ])("to %s end their connection, and at most the first is begun", async (_, start) => {
    let begun = 0;
    server.handler = () => {
      begun += 1;
      return new Response("answer");
    };
    const socket = await server.open();
    const heard = hear(socket);
    socket.write(`${start} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(MANY));
    expect((await heard).split("HTTP/1.1 ").length - 1).toBeLessThanOrEqual(1);
    expect(begun + server.othersCalls).toBeLessThanOrEqual(1);
  });

  it("do not keep those of another connection from being answered", async () => {
    let ofOthers = 0;
    server.handler = (request) => {
      if (request.url.endsWith("/many")) ofOthers += 1;
      return new Response(new URL(request.url).pathname);
    };
    const [many, one] = await Promise.all([server.open(), server.open()]);
    const ended = hear(many);
    const answered = hear(one, /\/one$/);
    many.write("GET /many HTTP/1.1\r\nHost: x\r\n\r\n".repeat(MANY));
    one.write("GET /one HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(await answered).toMatch(/^HTTP\/1\.1 200 /);
    await ended;
    expect(ofOthers).toBeLessThanOrEqual(1);
  });
});

describe("a path that the URL standard changes", () => {
  it.each(["/.\\metrics", "/./metrics", "/a/../metrics", "/%2e/metrics", "/a\\..\\metrics", "/x|\\y", "/\u00e9"])(
    "is refused, because a proxy in front takes %s for another path",
    async (path) => {
      server.handler = () => new Response("secret");
      const socket = await server.open();
      const heard = hear(socket);
      socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
      expect(await heard).toMatch(/^HTTP\/1.1 400 /);
    },
  );
});

describe("a request whose length, encoding or host is ambiguous", () => {
  const hidden = "GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n";

  it.each([
    ["two equal lengths", `Content-Length: ${hidden.length}\r\nContent-Length: ${hidden.length}\r\n`],
    ["two lengths", `Content-Length: 0\r\nContent-Length: ${hidden.length}\r\n`],
    ["an empty length", "Content-Length: \r\n"],
    ["a length and an encoding", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"],
    ["an unknown encoding", "Transfer-Encoding: gzip\r\n"],
    ["two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"],
    ["two hosts", "Host: y\r\n"],
  ])("is refused and its connection closed with %s, and no request behind it runs", async (_, headers) => {
    const paths: string[] = [];
    server.handler = (request) => {
      paths.push(new URL(request.url).pathname);
      return new Response("ran");
    };
    const socket = await server.open();
    const heard = hear(socket);
    socket.write(`POST /first HTTP/1.1\r\nHost: x\r\n${headers}\r\n${hidden}`);
    const statuses = (await heard).split("HTTP/1.1 ").map((answer) => answer.slice(0, 3));
    expect(statuses).toEqual(["", "400"]);
    expect(paths).toEqual([]);
  });
});
