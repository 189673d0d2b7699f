import { pino } from "pino";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { createPool } from "../db/pool.ts";
import { createProfiles, type Profiles } from "./profiles.ts";

const logger = pino({ level: "silent" });
let database: TestDatabase;
let profiles: Profiles;

beforeAll(async () => {
  database = await createTestDatabase();
  profiles = createProfiles({ pool: database.pool, logger });
});
afterAll(() => database.drop());

async function noted(userId: string, name: string | undefined): Promise<string | null> {
  profiles.note(userId, name);
  await profiles.stop();
  return (await profiles.read(userId)).name;
}

it("keeps the name of a token for a user who has no progress yet, and makes no row in users", async () => {
  expect(await noted("ann", "Ann Lee")).toBe("Ann Lee");
  expect(await noted("ann", undefined)).toBe("Ann Lee");
  expect(await noted("ann", "Ann Lee-Bell")).toBe("Ann Lee-Bell");
  expect(await database.query("SELECT FROM users")).toEqual([]);
});

it("puts a profile before every claim, until the profile is taken back", async () => {
  expect(await noted("bo", "Bo")).toBe("Bo");
  expect(await profiles.put("bo", "Dr Bo")).toEqual({ userId: "bo", name: "Dr Bo" });
  expect(await noted("bo", "Bo Again")).toBe("Dr Bo");
  expect(await profiles.put("bo", null)).toEqual({ userId: "bo", name: null });
  expect(await noted("bo", "Bo Again")).toBe("Bo Again");
});

it("falls back to the names of the account", async () => {
  await database.query(
    "INSERT INTO users (id, username, first_name, last_name) VALUES ('cy', 'cy99', 'Cy', 'Ng'), ('di', 'di77', NULL, NULL)",
  );
  expect(await profiles.read("cy")).toEqual({ userId: "cy", name: "Cy Ng" });
  expect(await profiles.read("di")).toEqual({ userId: "di", name: "di77" });
  expect(await profiles.read("nobody")).toEqual({ userId: "nobody", name: null });
});

it("writes a name that could not be written when it is seen again", async () => {
  const pool = createPool({
    connectionString: database.url,
    max: 1,
    queryTimeoutMs: 5000,
    applicationName: "test",
    logger,
  });
  const others = createProfiles({ pool, logger });
  await database.query("ALTER TABLE user_profiles RENAME TO away");
  others.note("eve", "Eve");
  await others.stop();
  await database.query("ALTER TABLE away RENAME TO user_profiles");
  others.note("eve", "Eve");
  await others.stop();
  await pool.end();
  expect(await profiles.read("eve")).toEqual({ userId: "eve", name: "Eve" });
});
