import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { WebSocket, WebSocketServer } from "ws";

/** A WebSocket proxy before a server, which loses messages and breaks connections on command. */
export interface LossyProxy {
  url: string;
  /** Swallows the next message of the server that matches, and breaks its connection if asked to. Resolves when it did. */
  loseNext(matches: (message: string) => boolean, options?: { andBreak: boolean }): Promise<void>;
  /** Breaks every connection. */
  breakAll(): void;
  /** While it is false, new connections are refused. */
  isOpen: boolean;
  stop(): Promise<void>;
}

/** Starts a proxy on a free port. `onMessage` is called with every message of the server. */
export async function startLossyProxy(target: string, onMessage: (message: string) => void): Promise<LossyProxy> {
  const http = createServer();
  const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  let losses: { matches: (message: string) => boolean; andBreak: boolean; onLost: () => void }[] = [];

  function forward(client: WebSocket, path: string): void {
    const server = new WebSocket(target.replace(/^http/, "ws") + path, { perMessageDeflate: false });
    const early: string[] = [];
    client.on("message", (data) => {
      if (server.readyState === WebSocket.OPEN) server.send(data.toString());
      else early.push(data.toString());
    });
    server.on("open", () => {
      for (const message of early) server.send(message);
    });
    server.on("message", (data) => {
      const message = data.toString();
      onMessage(message);
      const loss = losses.find(({ matches }) => matches(message));
      if (loss === undefined) {
        client.send(message);
        return;
      }
      losses = losses.filter((other) => other !== loss);
      if (loss.andBreak) client.terminate();
      loss.onLost();
    });
    for (const side of [client, server]) {
      side.on("error", () => undefined); // its close follows
      side.on("close", () => {
        client.terminate();
        server.terminate();
      });
    }
  }

  http.on("upgrade", (request, socket, head) => {
    if (proxy.isOpen) sockets.handleUpgrade(request, socket, head, (client) => forward(client, request.url ?? "/"));
    else socket.destroy();
  });
  const proxy: LossyProxy = {
    url: "",
    loseNext: (matches, { andBreak } = { andBreak: false }) =>
      new Promise((onLost) => void losses.push({ matches, andBreak, onLost })),
    breakAll() {
      for (const client of sockets.clients) client.terminate();
    },
    isOpen: true,
    async stop() {
      proxy.breakAll();
      http.close();
      await once(http, "close");
    },
  };
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  proxy.url = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  return proxy;
}
