import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";

/** One delivery that reached the receiver. */
export interface Received {
  id: string;
  /** The body, once its signature was checked; null where the signature is wrong. */
  event: { type: string; timestamp: string; data: Record<string, unknown> } | null;
}

/** An HTTP server that takes webhooks, checks their signatures, and misbehaves on command. */
export interface WebhookReceiver {
  url: string;
  /** The secret of the webhook, once it is known. */
  secret: string;
  received: Received[];
  /** What it does with a delivery; by default it answers 204. */
  answer: (response: ServerResponse) => void;
  /** Stops listening and cuts what is open; `open` listens on the same port again. */
  close(): Promise<void>;
  open(): Promise<void>;
}

export async function startWebhookReceiver(): Promise<WebhookReceiver> {
  let port = 0;
  let server = createServer();

  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += chunk;
    const headers = request.headers as Record<string, string>;
    let event: Received["event"] = null;
    try {
      event = new Webhook(receiver.secret).verify(body, headers) as Received["event"];
    } catch {
      // `event: null` tells the test.
    }
    receiver.received.push({ id: headers["webhook-id"] ?? "", event });
    receiver.answer(response);
  }

  const receiver: WebhookReceiver = {
    url: "",
    secret: "whsec_",
    received: [],
    answer: (response) => void response.writeHead(204).end(),
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
    async open() {
      server = createServer((request, response) => {
        take(request, response).catch(() => response.destroy()); // the sender went away
      });
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
      port = (server.address() as AddressInfo).port;
    },
  };
  await receiver.open();
  receiver.url = `http://127.0.0.1:${port}/hook?from=playhead`;
  return receiver;
}
