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
    expect(await passwords.matches(password, stored)).toBe(true);
    expect(await passwords.matches(password.slice(1), stored)).toBe(false);
  });

  it("matches nothing with a stored text that is no hash", async () => {
    expect(await createPasswordHasher({ cost }).matches("password", "password")).toBe(false);
  });

  it("leaves the event loop free while it hashes", async () => {
    let isHashing = true;
    const hashed = createPasswordHasher({ cost: 10 })
      .hash("password")
      .finally(() => {
        isHashing = false;
      });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isHashing).toBe(true);
    await hashed;
  });

  it("refuses a password past 50 that wait, and accepts one again when the queue has moved", async () => {
    const passwords = createPasswordHasher({ cost });
    const first = passwords.hash("password 0");
    const rest = Array.from({ length: 49 }, (_, i) => passwords.hash(`password ${i + 1}`));
    await expect(passwords.hash("one too many")).rejects.toMatchObject({ code: "rate_limited", retryAfterMs: 5000 });
    await first;
    await expect(passwords.hash("in time")).resolves.toMatch(/^\$2b\$04\$/);
    expect(new Set(await Promise.all(rest)).size).toBe(49);
  });

  it("finishes the password that is being hashed at a stop, and fails those that wait", async () => {
    const passwords = createPasswordHasher({ cost });
    const running = passwords.hash("running");
    const waiting = passwords.hash("waiting").catch((error: unknown) => error);
    await Promise.resolve(); // the first one has begun
    await passwords.stop();
    await expect(running).resolves.toMatch(/^\$2b\$04\$/);
    expect(await waiting).toMatchObject({ code: "unavailable" });
  });
});
