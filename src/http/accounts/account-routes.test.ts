import { describe, expect, it, vi } from "vitest";
import { createApi, tokens } from "../../../test/helpers/http-api.ts";
import type { Accounts } from "../../auth/accounts.ts";

describe("the routes of accounts", () => {
  const signedIn = {
    token: "t",
    expiresAt: "2026-11-01T10:00:00.000Z",
    user: {
      id: "u",
      username: "ada",
      email: "ada@example.org",
      firstName: null,
      lastName: null,
      role: "learner" as const,
    },
  };
  const fakeAccounts = () => ({
    register: vi.fn<Accounts["register"]>(async () => signedIn),
    login: vi.fn<Accounts["login"]>(async () => signedIn),
    stop: async () => undefined,
  });

  it("answer a registration with 201 and a login with 200, and count it for the connection's address", async () => {
    const accounts = fakeAccounts();
    const { call } = createApi({ accounts });
    const registered = await call("/v1/auth/register", {
      body: { username: "Ada", email: "ada@example.org", password: "correct horse" },
    });
    expect(registered).toMatchObject({ status: 201, body: signedIn });
    const loggedIn = await call("/v1/auth/login", { body: { username: "Ada", password: "correct horse" } });
    expect(loggedIn).toMatchObject({ status: 200, body: signedIn });
    expect(accounts.login).toHaveBeenCalledWith({ username: "ada", password: "correct horse" }, "192.0.2.1");
  });

  it("take the address from the last entry of X-Forwarded-For, only if the proxy is trusted", async () => {
    const headers = { "x-forwarded-for": "203.0.113.9, 198.51.100.7" };
    for (const [TRUST_PROXY, address] of [
      [true, "198.51.100.7"],
      [false, "192.0.2.1"],
    ] as const) {
      const accounts = fakeAccounts();
      await createApi({ accounts, config: { TRUST_PROXY } }).call("/v1/auth/login", {
        body: { username: "a", password: "b" },
        headers,
      });
      expect(accounts.login).toHaveBeenCalledWith(expect.anything(), address);
    }
  });

  it("name BUILTIN_ACCOUNTS when accounts are switched off", async () => {
    const { status, body } = await createApi().call("/v1/auth/login", { body: { username: "a", password: "b" } });
    expect(status).toBe(403);
    expect(body.detail).toContain("BUILTIN_ACCOUNTS");
  });

  it("limit the calls of one address", async () => {
    const { call } = createApi({ accounts: fakeAccounts(), config: { RATE_LIMIT_BURST: 3, RATE_LIMIT_PER_SECOND: 1 } });
    let last = 0;
    for (let i = 0; i < 6; i += 1)
      last = (await call("/v1/auth/login", { body: { username: "a", password: "b" } })).status;
    expect(last).toBe(429);
  });
});

describe("the demo's sign-in", () => {
  it("signs in, without a password, the learner and the instructor that are always there", async () => {
    const { call } = createApi({ config: { demo: true } });
    const learner = await call("/v1/demo/sign-in", { body: { as: "learner" } });
    expect(learner.body.user).toMatchObject({ id: "demo-learner", role: "learner" });
    expect(await tokens.verify(learner.body.token)).toMatchObject({ userId: "demo-learner", role: "learner" });
    const instructor = await call("/v1/demo/sign-in", { body: { as: "instructor", name: "Ines" } });
    expect(instructor.body.user).toMatchObject({ id: "demo-instructor", role: "instructor", firstName: "Ines" });
  });

  it("makes a new learner if a name or a new learner is asked for", async () => {
    const { call } = createApi({ config: { demo: true } });
    for (const body of [
      { as: "learner", name: "Bo" },
      { as: "learner", new: true },
    ]) {
      expect((await call("/v1/demo/sign-in", { body })).body.user.id).toMatch(/^demo-learner-[0-9a-f]{24}$/);
    }
  });

  it("makes nobody an admin", async () => {
    expect(
      (await createApi({ config: { demo: true } }).call("/v1/demo/sign-in", { body: { as: "admin" } })).status,
    ).toBe(400);
  });

  it("does not exist if the demo does not run", async () => {
    expect((await createApi().call("/v1/demo/sign-in", { body: { as: "learner" } })).status).toBe(404);
  });
});
