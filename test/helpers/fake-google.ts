import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { Agent, createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import type { Credential } from "firebase-admin/app";
import { SignJWT } from "jose";
import { createCertificate } from "./certificate.ts";

/*
 * What firebase-admin asks Google for, on this machine and over TLS: the certificates of ID tokens, and the users of
 * one project. `agent` leads there whatever host is asked for.
 */

export const PROJECT_ID = "playhead-test";
export const ISSUER = `https://securetoken.google.com/${PROJECT_ID}`;

export interface FakeUser {
  disabled?: boolean;
  /** Tokens of sign-ins before this second are revoked. */
  validSince?: number;
}

type Manner = "answers" | "fails" | "rambles" | "stalls";

export class FakeGoogle {
  /** How it meets those who ask: with what they want, with 500, with something else, or with half an answer. */
  manner: Manner = "answers";
  maxAgeSeconds = 3600;
  /** Who is not in here does not exist. */
  readonly users = new Map<string, FakeUser>();
  asked = { certificates: 0, users: [] as string[][] };
  /** Key id → certificate, as it is published. */
  certificates: Record<string, string> = {};
  readonly credential: Promise<Credential> = Promise.resolve({
    getAccessToken: async () => ({ access_token: "a token for Google", expires_in: 3600 }),
  });
  readonly agent: Agent;
  readonly #keys = new Map<string, KeyObject>();
  readonly #first: Record<string, string>;
  readonly #server: ReturnType<typeof createServer>;

  static async start(): Promise<FakeGoogle> {
    const keys = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const certificate = createCertificate(keys, ["www.googleapis.com", "identitytoolkit.googleapis.com"]);
    const server = createServer({
      cert: certificate,
      key: keys.privateKey.export({ type: "pkcs8", format: "pem" }),
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FakeGoogle(server, certificate);
  }

  private constructor(server: ReturnType<typeof createServer>, ca: string) {
    this.#server = server;
    const { port } = server.address() as AddressInfo;
    this.agent = new Agent({ ca, host: "127.0.0.1", port });
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
    this.addKey("key-1");
    this.#first = { ...this.certificates };
  }

  /** As it was at the start. */
  reset(): void {
    this.manner = "answers";
    this.maxAgeSeconds = 3600;
    this.users.clear();
    this.asked = { certificates: 0, users: [] };
    this.certificates = { ...this.#first };
  }

  /** Makes a key and publishes its certificate. */
  addKey(kid: string): void {
    const keys = generateKeyPairSync("rsa", { modulusLength: 2048 });
    this.#keys.set(kid, keys.privateKey);
    this.certificates[kid] = createCertificate(keys, ["securetoken.system.gserviceaccount.com"]);
  }

  /** An ID token as Firebase signs them; `claims` come on top, `undefined` takes one away. */
  sign(claims: Record<string, unknown> = {}, { kid = "key-1" } = {}): Promise<string> {
    return new SignJWT({ ...idClaims(), ...claims })
      .setProtectedHeader({ alg: "RS256", typ: "JWT", kid })
      .sign(this.#keys.get(kid) as KeyObject);
  }

  async stop(): Promise<void> {
    this.agent.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    const result = request.method === "GET" ? this.#giveCertificates() : this.#findUsers(body);
    if (this.manner === "fails") {
      // Not 503, which firebase-admin tries again for seconds.
      response.writeHead(500).end("away");
      return;
    }
    response.writeHead(200, {
      "content-type": "application/json; charset=UTF-8",
      "cache-control": `public, max-age=${this.maxAgeSeconds}, must-revalidate, no-transform`,
    });
    if (this.manner === "stalls") response.write("{");
    else response.end(this.manner === "rambles" ? '{"key-1":"no certificate"}' : JSON.stringify(result));
  }

  #giveCertificates(): object {
    this.asked.certificates += 1;
    return this.certificates;
  }

  #findUsers(body: string): object {
    const { localId } = JSON.parse(body) as { localId: string[] };
    this.asked.users.push(localId);
    const found = localId.filter((id) => this.users.has(id));
    if (found.length === 0) return {};
    return {
      users: found.map((id) => {
        const { disabled = false, validSince = 0 } = this.users.get(id) ?? {};
        return { localId: id, disabled, validSince: String(validSince) };
      }),
    };
  }
}

/** What an ID token of "alice" says who signed in a minute ago. */
export function idClaims(): Record<string, unknown> {
  const now = Math.floor(Date.now() / 1000);
  return {
    iss: ISSUER,
    aud: PROJECT_ID,
    auth_time: now - 60,
    user_id: "alice",
    sub: "alice",
    iat: now - 30,
    exp: now + 3570,
    firebase: { identities: {}, sign_in_provider: "password" },
  };
}
