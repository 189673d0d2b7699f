import { defineConfig, type TestProjectInlineConfiguration } from "vitest/config";

/** Files of one process share its modules: loading them anew for every file would take longer than the tests. */
const SHARED_PROCESSES = { isolate: false };
/** A PostgreSQL, and a build of the server. */
const SERVICES = ["test/helpers/global-setup.ts"];
const MINUTES_MS = 60_000;

/** Tests of whole servers in one folder. */
function flows(name: string, options: TestProjectInlineConfiguration["test"]): TestProjectInlineConfiguration {
  return {
    extends: true,
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      globalSetup: SERVICES,
      testTimeout: 3 * MINUTES_MS,
      hookTimeout: 2 * MINUTES_MS,
      ...options,
    },
  };
}

export default defineConfig({
  test: {
    // uWebSockets.js ends the whole run when it stops in a worker thread, so test files run in processes.
    pool: "forks",
    // Two: more would measure how the machine shares two cores, not how the server behaves.
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["src/**/*.test.ts", "loadtest/**/*.test.ts", "scripts/**/*.test.ts"],
          exclude: ["src/**/*.integration.test.ts", "**/node_modules/**"],
          testTimeout: MINUTES_MS / 2,
          // They wait more than they compute.
          maxWorkers: 4,
          sequence: { groupOrder: 1 },
          ...SHARED_PROCESSES,
        },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: ["src/**/*.integration.test.ts"],
          globalSetup: SERVICES,
          testTimeout: MINUTES_MS,
          hookTimeout: 2 * MINUTES_MS,
          sequence: { groupOrder: 2 },
          ...SHARED_PROCESSES,
        },
      },
      flows("flows", { sequence: { groupOrder: 3 } }),
      flows("media-servers", { sequence: { groupOrder: 3 } }),
      flows("pages", { sequence: { groupOrder: 3 }, globalSetup: [...SERVICES, "test/helpers/pages-setup.ts"] }),
      // One file at a time: each keeps both cores busy while it kills servers and databases.
      flows("chaos", { sequence: { groupOrder: 4 }, fileParallelism: false }),
    ],
  },
});
