import { generateKeyPairSync, type JsonWebKey, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Agent } from "node:https";
import { type AddressInfo, connect } from "node:net";
import { text } from "node:stream/consumers";
import type { Credential } from "firebase-admin/app";
import { CompactSign, SignJWT } from "jose";

/*
 * Google on this machine, as far as ID tokens need it: the public keys at `keysUrl`, and the users of one project
 * behind `agent`.
 */

export const PROJECT_ID = "playhead-test";
export const ISSUER = `https://securetoken.google.com/${PROJECT_ID}`;

export interface FakeUser {
  disabled?: boolean;
  /** Tokens of sign-ins before this second are revoked. */
  validSince?: number;
}

/** Sends the right answer, status 500, an answer of another form, or half an answer. */
type Manner = "answers" | "fails" | "rambles" | "stalls";

export class FakeGoogle {
  manner: Manner = "answers";
  maxAgeSeconds = 3600;
  /** A user who is not in here does not exist. */
  readonly users = new Map<string, FakeUser>();
  /** The requests so far. */
  asked = { keys: 0, users: [] as string[][] };
  /** The published keys by their ids. */
  published: Record<string, JsonWebKey> = {};
  readonly credential: Promise<Credential> = Promise.resolve({
    getAccessToken: async () => ({ access_token: "a token for Google", expires_in: 3600 }),
  });
  readonly keysUrl: URL;
  readonly agent: Agent;
  readonly #privateKeys = new Map<string, KeyObject>();
  readonly #first: Record<string, JsonWebKey>;
  readonly #server: Server;

  static async start(): Promise<FakeGoogle> {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    return new FakeGoogle(server);
  }

  private constructor(server: Server) {
    this.#server = server;
    const { port } = server.address() as AddressInfo;
    this.keysUrl = new URL(`http://127.0.0.1:${port}/keys`);
    this.agent = new PlainAgent(port);
    server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response).catch((error: unknown) => response.destroy(error as Error));
    });
    this.addKey("key-1");
    this.#first = { ...this.published };
  }

  /** Brings back the state of the start. */
  reset(): void {
    this.manner = "answers";
    this.maxAgeSeconds = 3600;
    this.users.clear();
    this.asked = { keys: 0, users: [] };
    this.published = { ...this.#first };
  }

  /** Makes a key and publishes it. */
  addKey(kid: string): void {
    const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    this.#privateKeys.set(kid, privateKey);
    this.published[kid] = { ...publicKey.export({ format: "jwk" }), kid, alg: "RS256", use: "sig" };
  }

  /** An ID token as Firebase signs them. `claims` replace the usual ones; `undefined` removes a claim. */
  sign(claims: Record<string, unknown> = {}, { kid = "key-1" } = {}): Promise<string> {
    return new SignJWT({ ...idClaims(), ...claims })
      .setProtectedHeader({ alg: "RS256", typ: "JWT", kid })
      .sign(this.#privateKeys.get(kid) as KeyObject);
  }

  /** A token with a right signature over any payload. */
  signPayload(payload: string): Promise<string> {
    return new CompactSign(new TextEncoder().encode(payload))
      .setProtectedHeader({ alg: "RS256", kid: "key-1" })
      .sign(this.#privateKeys.get("key-1") as KeyObject);
  }

  async stop(): Promise<void> {
    this.agent.destroy();
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    const result = request.url === this.keysUrl.pathname ? this.#giveKeys() : this.#findUsers(body);
    if (this.manner === "fails") {
      // Not 503: firebase-admin repeats such a request for seconds.
      response.writeHead(500).end("away");
      return;
    }
    response.writeHead(200, {
      "content-type": "application/json; charset=UTF-8",
      "cache-control": `public, max-age=${this.maxAgeSeconds}, must-revalidate, no-transform`,
    });
    if (this.manner === "stalls") response.write("{");
    else response.end(JSON.stringify(this.manner === "rambles" ? { keys: [{ kid: "key-1", kty: "RSA" }] } : result));
  }

  #giveKeys(): object {
    this.asked.keys += 1;
    return { keys: Object.values(this.published) };
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

/** firebase-admin speaks HTTPS alone. This agent sends its requests to the fake without TLS, for any host. */
class PlainAgent extends Agent {
  readonly #port: number;

  constructor(port: number) {
    super();
    this.#port = port;
  }

  override createConnection() {
    return connect(this.#port, "127.0.0.1");
  }
}

/** The claims of an ID token of "alice", who signed in a minute ago. */
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
