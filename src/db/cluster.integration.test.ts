import { randomUUID } from "node:crypto";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { identify, raiseVersions, VERSIONS_AHEAD } from "./cluster.ts";

describe("the server behind a connection", () => {
  let database: TestDatabase;
  const role = `plain_${randomUUID().slice(0, 8)}`;
  let client: pg.Client;

  beforeAll(async () => {
    database = await createTestDatabase();
    await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'plain'`);
    await database.query(`GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role}`);
    await database.query(`GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ${role}`);
    const url = new URL(database.url);
    url.username = role;
    url.password = "plain";
    client = new pg.Client({ connectionString: url.href });
    await client.connect();
  });
  afterAll(async () => {
    await client.end();
    await database.query(`DROP OWNED BY ${role}`);
    await database.query(`DROP ROLE ${role}`);
    await database.drop();
  });

  async function lastVersion(): Promise<number> {
    const [row] = await database.query<{ version: number }>("SELECT last_value AS version FROM progress_version");
    return row?.version ?? Number.NaN;
  }

  it("is known by its cluster and timeline to a role without special rights", async () => {
    expect(await identify(client)).toEqual({
      isStandby: false,
      isReadOnly: false,
      cluster: { system: expect.stringMatching(/^\d+$/), timeline: 1 },
    });
  });

  it("tells whether it takes writes", async () => {
    await client.query("SET default_transaction_read_only = on");
    expect(await identify(client)).toMatchObject({ isStandby: false, isReadOnly: true });
    await client.query("RESET default_transaction_read_only");
  });

  it("has its versions raised once for every move, and not where nothing was recorded before", async () => {
    const first = await lastVersion();
    await raiseVersions(client, { system: "7", timeline: 1 }, false);
    await raiseVersions(client, { system: "7", timeline: 1 }, false);
    expect(await lastVersion()).toBe(first);
    for (const timeline of [2, 2, 2]) await raiseVersions(client, { system: "7", timeline }, true);
    const moved = await lastVersion();
    expect(moved).toBeGreaterThanOrEqual(first + VERSIONS_AHEAD);
    expect(moved).toBeLessThan(first + 2 * VERSIONS_AHEAD);
  });

  it("has its versions raised too where the record was lost in the move", async () => {
    await database.query("DELETE FROM settings WHERE name = 'cluster'");
    const before = await lastVersion();
    await raiseVersions(client, { system: "7", timeline: 3 }, true);
    expect(await lastVersion()).toBeGreaterThanOrEqual(before + VERSIONS_AHEAD);
  });
});
