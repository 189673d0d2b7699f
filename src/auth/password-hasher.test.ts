import { describe, expect, it } from "vitest";
import { createPasswordHasher } from "./password-hasher.ts";

/** A cost that tests can afford. */
const cost = 4;

describe("password hashes", () => {
  it.each([
    ["$2b$", "correct horse battery", "$2b$04$WJl6YxAbrsGkO9dUWfmt9.syYfPCiT7C91FMzv8EOxG48qlC7VnG2"],
    ["$2a$", "correct horse battery", "$2a$04$WJl6YxAbrsGkO9dUWfmt9.syYfPCiT7C91FMzv8EOxG48qlC7VnG2"],
    ["$2b$", "café-au-lait", "$2b$04$3wacmeyYVJm5R0wVLkPxJug8DQ8HdXd/sz60GSC3IfF8jfFFcJ392"],
    ["$2b$", "x".repeat(72), "$2b$04$.4guZZTldno5k2tNl2HoNO9mCI.MlgE3MJK01KvB/sxOtUhP3M2Ia"],
  ])("matches a %s hash that bcryptjs made of %s", async (_, password, stored) => {
    const passwords = createPasswordHasher({ cost });
    expect(await passwords.matches(password, stored, "net")).toBe(true);
    expect(await passwords.matches(password.slice(1), stored, "net")).toBe(false);
  });

  it("matches nothing with a stored text that is no hash", async () => {
    expect(await createPasswordHasher({ cost }).matches("password", "password", "net")).toBe(false);
  });

  it("leaves the event loop free while it hashes", async () => {
    let isHashing = true;
    const hashed = createPasswordHasher({ cost: 10 })
      .hash("password", "net")
      .finally(() => {
        isHashing = false;
      });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isHashing).toBe(true);
    await hashed;
  });

  it("refuses a login past 50 passwords that wait, and accepts one again when the queue has moved", async () => {
    const passwords = createPasswordHasher({ cost });
    const stored = await passwords.makeHash("password 0");
    const login = (i: number) => passwords.matches(`password ${i}`, stored, `net ${i % 10}`);
    const first = login(0);
    const rest = Array.from({ length: 49 }, (_, i) => login(i + 1));
    await expect(passwords.matches("one too many", stored, "another")).rejects.toMatchObject({
      code: "rate_limited",
      retryAfterMs: 5000,
    });
    expect(await first).toBe(true);
    await expect(passwords.matches("in time", stored, "another")).resolves.toBe(false);
    expect(await Promise.all(rest)).toHaveLength(49);
  });

  it("refuses a password past 20 of one network, and hashes those of other networks in turns", async () => {
    const passwords = createPasswordHasher({ cost });
    const order: string[] = [];
    const hash = (network: string) => passwords.hash("password", network).then(() => order.push(network));
    const flood = Array.from({ length: 20 }, () => hash("flood"));
    await expect(passwords.hash("password", "flood")).rejects.toMatchObject({ code: "rate_limited" });
    await Promise.all([hash("home"), ...flood]);
    expect(order.indexOf("home")).toBeLessThan(3);
  });

  it("refuses a registration past 25 that wait, and accepts logins", async () => {
    const passwords = createPasswordHasher({ cost });
    const registrations = Array.from({ length: 25 }, (_, i) => passwords.hash(`password ${i}`, `net ${i}`));
    await expect(passwords.hash("one too many", "another")).rejects.toMatchObject({ code: "rate_limited" });
    expect(await passwords.matches("password", "no hash", "another")).toBe(false);
    expect(new Set(await Promise.all(registrations)).size).toBe(25);
  });

  it("finishes the password that is being hashed at a stop, and fails those that wait", async () => {
    const passwords = createPasswordHasher({ cost });
    const running = passwords.hash("running", "net");
    const waiting = passwords.hash("waiting", "net").catch((error: unknown) => error);
    await Promise.resolve(); // the first one has begun
    await passwords.stop();
    await expect(running).resolves.toMatch(/^\$2b\$04\$/);
    expect(await waiting).toMatchObject({ code: "unavailable" });
  });
});
