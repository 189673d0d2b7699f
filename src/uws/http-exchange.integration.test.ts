import { once } from "node:events";
import type { Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { deferred, hear, useFetchServer } from "../../test/helpers/fetch-server.ts";

const server = useFetchServer();

describe("a response", () => {
  it("has a small body in one piece, with its length", async () => {
    server.handler = () => Response.json({ ok: true }, { status: 201, headers: { "x-test": "yes" } });
    const response = await fetch(server.url("/"));
    expect(response.status).toBe(201);
    expect(response.headers.get("content-length")).toBe("11");
    expect(response.headers.get("x-test")).toBe("yes");
    expect(await response.json()).toEqual({ ok: true });
  });

  it("keeps two cookies apart", async () => {
    server.handler = () =>
      new Response(null, {
        headers: [
          ["set-cookie", "a=1"],
          ["set-cookie", "b=2"],
        ],
      });
    expect((await fetch(server.url("/"))).headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  });

  it("to HEAD has the length and no body, and leaves the connection usable", async () => {
    server.handler = (request) =>
      request.method === "HEAD" ? new Response(null, { headers: { "content-length": "1234" } }) : new Response("after");
    const socket = await server.open();
    const head = hear(socket, /\r\n\r\n/);
    socket.write("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(await head).toMatch(/content-length: 1234/i);
    const after = hear(socket, /after$/);
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(await after).toMatch(/^HTTP\/1\.1 200 OK/);
  });

  it.each([204, 304])("with status %i has neither body nor length", async (status) => {
    server.handler = () => new Response(null, { status });
    const socket = await server.open();
    const answer = hear(socket, /\r\n\r\n/);
    socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(await answer).not.toMatch(/content-length|transfer-encoding/i);
  });

  it("without a body has a length of 0", async () => {
    server.handler = () => new Response(null, { status: 200 });
    expect((await fetch(server.url("/"))).headers.get("content-length")).toBe("0");
    server.handler = () => new Response("", { status: 404 });
    expect((await fetch(server.url("/"))).headers.get("content-length")).toBe("0");
  });

  it("is streamed while its body is still being made", async () => {
    const more = deferred<void>();
    server.handler = () =>
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
    const response = await fetch(server.url("/"));
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
    server.handler = () => new Response(source.stream, sized ? { headers: { "content-length": String(total) } } : {});
    const socket = await server.open();
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
    server.handler = () => new Response(counted(actual).stream, { headers: { "content-length": String(announced) } });
    await expect(fetch(server.url("/")).then((response) => response.text())).rejects.toThrow();
  });

  it("closes the connection if its body fails half-way, and logs the failure", async () => {
    server.handler = () =>
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
    await expect(fetch(server.url("/")).then((response) => response.text())).rejects.toThrow();
    await vi.waitFor(() => expect(server.logged).toHaveLength(1));
  });

  it("shows nothing of an error that the fetch function threw", async () => {
    server.handler = () => {
      throw new Error("password=hunter2");
    };
    const response = await fetch(server.url("/"));
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("hunter2");
    expect(server.logged).toHaveLength(1);
  });
});

describe("a server", () => {
  const ROUNDS = 400;

  it("survives clients that leave before they have sent all headers", async () => {
    await Promise.all(
      Array.from({ length: ROUNDS }, async (_, i) => {
        const socket = await server.open();
        socket.write("POST /cut HTTP/1.1\r\nHost: x\r\nContent-Length: 10".slice(0, 1 + (i % 50)));
        await turn();
        i % 2 ? socket.resetAndDestroy() : socket.destroy();
      }),
    );
  });

  it("survives clients that leave within a body, and fails the read of the body", async () => {
    let failed = 0;
    server.handler = async (request) => {
      await request.text().catch(() => {
        failed += 1;
      });
      await turn();
      return new Response("for nobody");
    };
    for (let batch = 0; batch < 4; batch += 1) {
      await Promise.all(
        Array.from({ length: ROUNDS / 4 }, async (_, i) => {
          const socket = await server.open();
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
    server.handler = async (request) => {
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
      const socket = await server.open();
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
    server.handler = () => {
      const source = counted(total);
      sources.push(source);
      return new Response(source.stream, sized ? { headers: { "content-length": String(total) } } : {});
    };
    for (let batch = 0; batch < 10; batch += 1) {
      await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const socket = await server.open();
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
