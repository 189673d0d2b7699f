import { SignJWT, UnsecuredJWT } from "jose";
import { describe, expect, it } from "vitest";
import {
  type BadInputServer,
  errorOf,
  expectStillUsable,
  GOOD,
  LONG,
  newUser,
  useBadInputServer,
} from "../helpers/bad-input-server.ts";
import { AUTH_SECRET } from "../helpers/server-env.ts";
import { ConnectError, connect, type Namespace } from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * Nobody is let in with a bad token, or from a page of another origin.
 */

let server: BadInputServer;

useBadInputServer((started) => {
  server = started;
});

describe("a token", () => {
  const hour = () => Math.floor(Date.now() / 1000) + 3600;
  const claims = { role: "admin", sub: "mallory", iss: "playhead" };
  const sign = (payload: Record<string, unknown>, secret: string) =>
    new SignJWT({ ...claims, exp: hour(), ...payload })
      .setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(secret));
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url");

  const BAD_TOKENS: [string, () => unknown][] = [
    ["missing", () => undefined],
    ["empty", () => ""],
    ["a number", () => 5],
    ["an object", () => ({ toString: 1 })],
    ["no JWT", () => "nonsense"],
    ["of 5,000 characters", () => LONG],
    ["expired", () => sign({ exp: hour() - 3601 }, AUTH_SECRET)],
    ["without an end", () => sign({ exp: undefined }, AUTH_SECRET)],
    ["signed with another secret", () => sign({}, "another secret of forty characters, 1234")],
    ["whose end is in milliseconds", () => sign({ exp: 9_999_999_999_999 }, AUTH_SECRET)],
    ["of another issuer", () => sign({ iss: "someone" }, AUTH_SECRET)],
    ["of a role that is none", () => sign({ role: "god" }, AUTH_SECRET)],
    ["of a role that is an array", () => sign({ role: ["admin"] }, AUTH_SECRET)],
    ["without a subject", () => sign({ sub: undefined }, AUTH_SECRET)],
    ["of a subject of 129 characters", () => sign({ sub: "x".repeat(129) }, AUTH_SECRET)],
    ["of a subject that HTTP cannot name", () => sign({ sub: ".." }, AUTH_SECRET)],
    ["of a subject that a topic cannot name", () => sign({ sub: "mallory/user:bob" }, AUTH_SECRET)],
    ["of a subject with U+0000", () => sign({ sub: "a\u0000" }, AUTH_SECRET)],
    ["unsigned (alg none)", () => new UnsecuredJWT(claims).setExpirationTime(hour()).encode()],
    ["unsigned, with alg NONE in capitals", () => `${part({ alg: "NONE" })}.${part({ ...claims, exp: hour() })}.`],
    [
      "altered after it was signed",
      async () => {
        const [header, , signature] = (await mintToken("alice")).split(".");
        return `${header}.${part({ ...claims, exp: hour() })}.${signature}`;
      },
    ],
  ];

  describe.each<Namespace>(["/player", "/dashboard"])("at %s that is", (namespace) => {
    it.each(BAD_TOKENS)("%s is refused as unauthenticated", async (_, make) => {
      const token = (await make()) as string;
      const failure = await connect(server.url, namespace, token).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(ConnectError);
      expect((failure as ConnectError).data).toMatchObject({ code: "unauthenticated" });
      if (typeof token === "string" && token !== "") expect((failure as ConnectError).message).not.toContain(token);
    });
  });

  it.each(BAD_TOKENS)("over HTTP that is %s is refused as unauthenticated", async (_, make) => {
    const token = await make();
    const { status, body } = await server.post(JSON.stringify({ beats: [GOOD], token }));
    expect(status).toBe(401);
    expect(body).toMatchObject({ code: "unauthenticated", status: 401 });
    expect(await server.rowsOf("mallory")).toEqual([]);
  });

  it("that is bad is refused by token:refresh, and the connection goes on with the token before", async () => {
    const client = await server.player(newUser());
    const token = await sign({}, "another secret of forty characters, 1234");
    expect(errorOf(await client.call("token:refresh", { token }))).toMatchObject({ code: "unauthenticated" });
    await expectStillUsable(client);
  });
});

describe("the root namespace", () => {
  it("lets nobody in, not even with a good token", async () => {
    const failure = await connect(server.url, "/", await mintToken("alice")).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ConnectError);
    expect((failure as ConnectError).data).toMatchObject({ code: "not_found" });
  });
});

describe("a page of an origin", () => {
  it.each(["https://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1"])(
    "(%s) can neither connect nor post",
    async (origin) => {
      await expect(server.socket({ origin })).rejects.toThrow("403");
      const response = await fetch(`${server.url}/v1/heartbeats`, {
        method: "POST",
        headers: { origin, authorization: `Bearer ${await mintToken("alice")}` },
        body: JSON.stringify({ beats: [GOOD] }),
      });
      expect(response.status).toBe(403);
    },
  );

  it("whose name begins with the server's own cannot connect", async () => {
    await expect(server.socket({ origin: `${server.url}.evil.example` })).rejects.toThrow("403");
  });

  it("can connect when that origin is the server's own", async () => {
    await server.socket({ origin: server.url });
  });
});
