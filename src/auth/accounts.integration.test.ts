import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { Login, Register } from "../protocol/account.ts";
import { parseWire } from "../protocol/ack.ts";
import { type Accounts, createAccounts } from "./accounts.ts";
import { loadAuthSecret } from "./auth-secret.ts";
import { createBuiltinTokens } from "./builtin-tokens.ts";

const PASSWORD = "correct horse battery";
const tokens = createBuiltinTokens({ secret: "x".repeat(40), ttlSeconds: 60 });
let database: TestDatabase;
const opened: Accounts[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((accounts) => accounts.stop()));
});

afterAll(() => database.drop());

const NETWORK = "10.0.0.0";

/** A cost that tests can afford. */
function open(): Accounts {
  const accounts = createAccounts({ pool: database.pool, mintToken: tokens.mint }, { bcryptCost: 4 });
  opened.push(accounts);
  return accounts;
}

function newcomer(changes: Record<string, unknown> = {}): Register {
  const username = `u${randomUUID().slice(0, 8)}`;
  return parseWire(Register, { username, email: `${username}@example.org`, password: PASSWORD, ...changes });
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => null,
    (error: unknown) => error as { code: string; message: string; retryAfterMs?: number },
  );

describe("registration", () => {
  it("makes a learner and signs in, whatever role and id the body asks for", async () => {
    const account = newcomer({ role: "admin", id: "root", firstName: " Ada ", lastName: "Lovelace" });
    const { token, expiresAt, user } = await open().register(account, NETWORK);
    expect(user).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/),
      username: account.username,
      email: account.email,
      firstName: "Ada",
      lastName: "Lovelace",
      role: "learner",
    });
    const caller = await tokens.verify(token);
    expect(caller).toMatchObject({ userId: user.id, role: "learner" });
    expect(caller.expiresAt.toISOString()).toBe(expiresAt);
  });

  it("stores a bcrypt hash and never the password", async () => {
    const account = newcomer();
    const { user } = await open().register(account, NETWORK);
    const [row] = await database.query("select * from users where id = $1", [user.id]);
    expect(row?.password).toMatch(/^\$2[aby]\$04\$/);
    expect(JSON.stringify(row)).not.toContain(PASSWORD);
  });

  it("refuses a taken username and a taken e-mail address, also in capital letters", async () => {
    const accounts = open();
    const first = newcomer();
    await accounts.register(first, NETWORK);
    const sameName = await failure(accounts.register(newcomer({ username: first.username.toUpperCase() }), NETWORK));
    expect(sameName).toMatchObject({ code: "conflict", message: expect.stringContaining("username") });
    const sameEmail = await failure(accounts.register(newcomer({ email: ` ${first.email.toUpperCase()} ` }), NETWORK));
    expect(sameEmail).toMatchObject({ code: "conflict", message: expect.stringContaining("e-mail") });
  });

  it("makes one account when the same name registers twenty times at once", async () => {
    const accounts = open();
    const account = newcomer();
    const outcomes = await Promise.allSettled(Array.from({ length: 20 }, () => accounts.register(account, NETWORK)));
    expect(outcomes.filter((outcome) => outcome.status === "fulfilled")).toHaveLength(1);
    expect(await database.query("select 1 from users where username = $1", [account.username])).toHaveLength(1);
  });

  it("refuses a registration past 25 that wait, or past 20 of one network, and serves the others", async () => {
    const accounts = open();
    const refusedOf = async (networks: string[]) => {
      const outcomes = await Promise.all(networks.map((network) => failure(accounts.register(newcomer(), network))));
      return outcomes.filter((outcome) => outcome !== null);
    };
    const refused = await refusedOf(Array.from({ length: 30 }, (_, i) => `10.1.0.${i}`));
    expect(refused).toHaveLength(5);
    expect(refused[0]).toMatchObject({ code: "rate_limited", retryAfterMs: expect.any(Number) });
    expect(await refusedOf(Array(24).fill("10.2.0.1"))).toHaveLength(4);
  });

  it("is refused past a hundred of one network in a quarter of an hour", async () => {
    const accounts = open();
    const taken = newcomer();
    await accounts.register(taken, "10.3.0.1");
    for (let i = 1; i < 100; i++) {
      expect(await failure(accounts.register(taken, "10.3.0.1"))).toMatchObject({ code: "conflict" });
    }
    expect(await failure(accounts.register(newcomer(), "10.3.0.1"))).toMatchObject({ code: "rate_limited" });
    expect(await failure(accounts.register(newcomer(), "10.3.0.2"))).toBeNull();
  });
});

describe("login", () => {
  it("accepts the username, the e-mail address, and the address as username, also in capital letters", async () => {
    const accounts = open();
    const account = newcomer();
    const { user } = await accounts.register(account, NETWORK);
    for (const name of [
      { username: account.username.toUpperCase() },
      { email: ` ${account.email.toUpperCase()}` },
      { username: account.email },
    ]) {
      const login = parseWire(Login, { ...name, password: PASSWORD });
      expect((await accounts.login(login, "10.0.0.1")).user).toEqual(user);
    }
  });

  it("accepts a password whose letters are composed in another way", async () => {
    const accounts = open();
    const account = newcomer({ password: "cafe\u0301-au-lait" });
    await accounts.register(account, NETWORK);
    const login = parseWire(Login, { username: account.username, password: "caf\u00e9-au-lait" });
    await expect(accounts.login(login, "10.0.0.2")).resolves.toBeTruthy();
  });

  it("gives the role that stands in the database", async () => {
    const accounts = open();
    const account = newcomer();
    const { user } = await accounts.register(account, NETWORK);
    await database.query("update users set role = 'instructor' where id = $1", [user.id]);
    const { token } = await accounts.login({ username: account.username, password: PASSWORD }, "10.0.0.3");
    expect((await tokens.verify(token)).role).toBe("instructor");
  });

  it("answers a wrong password, an unknown user and a user without a password alike", async () => {
    const accounts = open();
    const account = newcomer();
    await accounts.register(account, NETWORK);
    await database.query("insert into users (id, username) values ($1, $2)", [randomUUID(), "from-elsewhere"]);
    const wrong = await failure(accounts.login({ username: account.username, password: "not this one" }, "10.0.0.4"));
    const unknown = await failure(accounts.login({ username: "nobody-at-all", password: PASSWORD }, "10.0.0.4"));
    const without = await failure(accounts.login({ username: "from-elsewhere", password: PASSWORD }, "10.0.0.4"));
    expect(wrong).toMatchObject({ code: "unauthenticated" });
    expect(unknown?.message).toBe(wrong?.message);
    expect(without?.message).toBe(wrong?.message);
  });

  it("throttles an address that guesses at one account, also in parallel, and accepts the owner from another address", async () => {
    const accounts = open();
    const account = newcomer();
    await accounts.register(account, NETWORK);
    const guess = () => failure(accounts.login({ username: account.username, password: "a wrong guess" }, "10.0.0.5"));
    const outcomes = await Promise.all(Array.from({ length: 15 }, guess));
    expect(outcomes.map((outcome) => outcome?.code).sort()).toEqual([
      ...Array(5).fill("rate_limited"),
      ...Array(10).fill("unauthenticated"),
    ]);
    const right = { username: account.username, password: PASSWORD };
    expect(await failure(accounts.login(right, "10.0.0.5"))).toMatchObject({
      code: "rate_limited",
      retryAfterMs: expect.any(Number),
    });
    await expect(accounts.login(right, "10.0.0.6")).resolves.toBeTruthy();
  });

  it("counts failures under the username and under the e-mail address for the same account", async () => {
    const accounts = open();
    await accounts.register(
      { username: "twonames", email: "twonames@example.org", password: "right password" },
      NETWORK,
    );
    const names = [{ username: "twonames" }, { email: "twonames@example.org" }];
    const outcomes: string[] = [];
    for (let i = 0; i < 12; i++) {
      const wrong = accounts.login({ ...names[i % 2], password: "wrong password" }, "203.0.113.77");
      outcomes.push(await wrong.then(() => "ok").catch((error: { code: string }) => error.code));
    }
    expect(outcomes.slice(0, 10)).toEqual(Array(10).fill("unauthenticated"));
    expect(outcomes.slice(10)).toEqual(["rate_limited", "rate_limited"]);
  });

  it("forgets the failures of an address and account after a success", async () => {
    const accounts = open();
    const account = newcomer();
    await accounts.register(account, NETWORK);
    for (let round = 0; round < 3; round += 1) {
      for (let i = 0; i < 8; i += 1) {
        await failure(accounts.login({ username: account.username, password: "a wrong guess" }, "10.0.0.7"));
      }
      await expect(
        accounts.login({ username: account.username, password: PASSWORD }, "10.0.0.7"),
      ).resolves.toBeTruthy();
    }
  });

  it("throttles an address that tries many accounts", async () => {
    const accounts = open();
    const codes: (string | undefined)[] = [];
    for (let i = 0; i < 110; i += 1) {
      codes.push(
        (await failure(accounts.login({ username: `user${i}`, password: "a wrong guess" }, "10.0.0.8")))?.code,
      );
    }
    expect(codes.filter((code) => code === "rate_limited")).toHaveLength(10);
  });
});

describe("the secret of built-in tokens in the database", () => {
  it("is the same for eight processes that start at once", async () => {
    const config = { embedded: false, PLAYHEAD_DATA_DIR: "/nowhere" };
    const secrets = await Promise.all(Array.from({ length: 8 }, () => loadAuthSecret({ config, pool: database.pool })));
    expect(new Set(secrets).size).toBe(1);
    expect(secrets[0]?.length).toBeGreaterThanOrEqual(64);
  });
});
