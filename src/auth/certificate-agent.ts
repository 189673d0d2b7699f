import { Agent } from "node:https";
import { Duplex } from "node:stream";
import type { Certificates } from "./google-certificates.ts";

/**
 * Answers firebase-admin's request for Google's certificates from those that are held, without any network. It takes
 * no function for that, only an agent; so this is one whose connections answer every request with the certificates.
 * To be given to an app that asks for nothing else.
 */
export class CertificateAgent extends Agent {
  readonly #held: () => Certificates;

  constructor(held: () => Certificates) {
    super({ keepAlive: false });
    this.#held = held;
  }

  override createConnection(): Duplex {
    return createAnswering(JSON.stringify(this.#held()));
  }
}

/** The far end of a connection: hears a request to its end, answers, and closes. */
function createAnswering(body: string): Duplex {
  let heard = "";
  return new Duplex({
    read() {
      // What there is to read is pushed when the request has come.
    },
    write(chunk: Buffer, _encoding, done) {
      heard += chunk.toString("latin1");
      if (heard.endsWith("\r\n\r\n")) {
        // Good for a second: long enough to cost nothing under load, and what changes here counts at once.
        this.push(
          `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n` +
            `cache-control: max-age=1\r\nconnection: close\r\n\r\n${body}`,
        );
        this.push(null);
      }
      done();
    },
  });
}
