import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { deferred, hear, MAX_BODY_BYTES, useFetchServer } from "../../test/helpers/fetch-server.ts";

const server = useFetchServer();

describe("a body that is too long", () => {
  it("is refused before any of it is read, if its length is announced", async () => {
    const called = vi.fn(() => new Response());
    server.handler = called;
    const socket = await server.open();
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
    server.handler = async (request) => {
      await request.text().catch(failed.resolve);
      return new Response("too late");
    };
    const socket = await server.open();
    const answer = hear(socket);
    socket.write("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (let i = 0; i <= MAX_BODY_BYTES / 10_000; i += 1) socket.write(`2710\r\n${"x".repeat(10_000)}\r\n`);
    expect(await answer).toMatch(/^HTTP\/1\.1 413 [\s\S]*problem\+json/);
    expect(await failed.promise).toMatchObject({ code: "bad_request", status: 413 });
  });

  it("is longer than the limit: a body of exactly the limit is accepted", async () => {
    server.handler = async (request) => new Response(String((await request.text()).length));
    const response = await fetch(server.url("/"), { method: "POST", body: "x".repeat(MAX_BODY_BYTES) });
    expect(await response.text()).toBe(String(MAX_BODY_BYTES));
  });
});

describe("a body in chunks", () => {
  const head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";

  it("is refused where thousands of them are tiny", async () => {
    server.handler = async (request) => new Response(String((await request.text()).length));
    const socket = await server.open();
    const heard = hear(socket);
    socket.write(head + "1\r\nx\r\n".repeat(5000));
    expect(await heard).toMatch(/^HTTP\/1\.1 400 [\s\S]*send larger ones/);
  });

  it("is taken where many of them are short", async () => {
    server.handler = async (request) => new Response(String((await request.text()).length));
    const socket = await server.open();
    const heard = hear(socket, /\d{5}$/);
    socket.write(`${head}${`42\r\n${"x".repeat(66)}\r\n`.repeat(1500)}0\r\n\r\n`);
    expect(await heard).toMatch(/^HTTP\/1\.1 200 [\s\S]*99000$/);
  });
});

describe("the body of a request that is answered before it is read", () => {
  const head = (length: number) => `POST / HTTP/1.1\r\nHost: x\r\nContent-Length: ${length}\r\n\r\n`;

  it.each([401, 204])("is dropped, and the connection is closed after the answer with status %d", async (status) => {
    server.handler = () => new Response(status === 204 ? null : "no", { status });
    const socket = await server.open();
    const heard = hear(socket);
    socket.write(head(90_000) + "x".repeat(1000));
    // The rest never comes: the server does not wait for it.
    expect(await heard).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  });

  it("keeps the connection if the body is short", async () => {
    server.handler = () => new Response("no", { status: 401 });
    const socket = await server.open();
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
    server.handler = async (request) => {
      await asked;
      return new Response(String((await request.text()).length));
    };
    const socket = await server.open();
    const heard = hear(socket, /95000$/);
    socket.write(head(95_000) + "x".repeat(70_000));
    socket.write("x".repeat(25_000));
    await turn();
    read();
    expect(await heard).toMatch(/95000$/);
  });
});
