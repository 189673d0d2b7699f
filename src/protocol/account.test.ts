import { describe, expect, it } from "vitest";
import { Login, Register } from "./account.ts";

const account = { username: "ada", email: "ada@example.org", password: "correct horse" };
const paths = (body: unknown) => Register.safeParse(body).error?.issues.map((issue) => issue.path.join("."));

describe("the body of a registration", () => {
  it("is read in lower case and without surrounding spaces", () => {
    expect(Register.parse({ ...account, username: " Ada ", email: " ADA@Example.org " })).toMatchObject({
      username: "ada",
      email: "ada@example.org",
    });
  });

  it.each([
    ["a password of seven characters", { password: "7 chars" }, "password"],
    ["a password of 73 bytes", { password: "x".repeat(73) }, "password"],
    ["a password of 25 characters in 75 bytes", { password: "\u20ac".repeat(25) }, "password"],
    ["a password with U+0000", { password: "hidden\u0000rest of it" }, "password"],
    ["a username that looks like an e-mail", { username: "ada@example.org" }, "username"],
    ["a username of spaces", { username: "  " }, "username"],
    ["a username of 51 characters", { username: "x".repeat(51) }, "username"],
    ["an e-mail without a host", { email: "ada@" }, "email"],
    ["a first name of 101 characters", { firstName: "x".repeat(101) }, "firstName"],
    ["a number for a name", { username: 7 }, "username"],
  ])("is refused with %s", (_, change, path) => {
    expect(paths({ ...account, ...change })).toContain(path);
  });

  it("may have a password of exactly 72 bytes", () => {
    expect(Register.safeParse({ ...account, password: "\u20ac".repeat(24) }).success).toBe(true);
  });
});

describe("the body of a login", () => {
  it("has either a username or an e-mail", () => {
    expect(Login.safeParse({ username: "ada", password: "x" }).success).toBe(true);
    expect(Login.safeParse({ email: "ada@example.org", password: "x" }).success).toBe(true);
    expect(Login.safeParse({ password: "x" }).success).toBe(false);
    expect(Login.safeParse({ username: "ada", email: "ada@example.org", password: "x" }).success).toBe(false);
  });
});
