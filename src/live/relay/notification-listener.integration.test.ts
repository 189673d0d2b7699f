import { afterAll, beforeAll, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../../test/helpers/database.ts";
import { waitFor } from "../../../test/helpers/wait-for.ts";
import { createLogger } from "../../logger.ts";
import { NotificationListener } from "./notification-listener.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(() => database.drop());

it("goes on listening where those who hear it fail", async () => {
  const heard: string[] = [];
  const hearAndFail = (what: string) => {
    heard.push(what);
    throw new Error(`planned: ${what}`);
  };
  const listener = new NotificationListener({
    connectionString: database.url,
    applicationName: "failing-listener",
    handlers: { streams: (payload) => hearAndFail(payload) },
    onListening: () => hearAndFail("listening"),
    onProof: () => hearAndFail("proof"),
    onGap: () => hearAndFail("gap"),
    logger: createLogger({ level: "silent" }),
  });
  await listener.start();
  const untilHeard = (what: string, times = 1) =>
    waitFor(() => heard.filter((each) => each === what).length >= times, { what, timeoutMs: 30_000 });
  await untilHeard("proof", 2);
  await database.query("SELECT pg_notify('streams', 'first')");
  await untilHeard("first");
  await database.query(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'failing-listener'",
  );
  await untilHeard("gap");
  await untilHeard("listening", 2);
  await database.query("SELECT pg_notify('streams', 'second')");
  await untilHeard("second");
  await listener.stop();
});
