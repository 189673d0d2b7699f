import { defineConfig } from "vitest/config";

const SERVICES = { globalSetup: ["test/helpers/global-setup.ts"], testTimeout: 60_000, hookTimeout: 120_000 };
const LONG_TESTS = { testTimeout: 180_000 };
/** Files of one process share its modules: loading them anew for every file would take longer than the tests. */
const SHARED_PROCESSES = { isolate: false };

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
          testTimeout: 30_000,
          sequence: { groupOrder: 1 },
          ...SHARED_PROCESSES,
        },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: ["src/**/*.integration.test.ts"],
          sequence: { groupOrder: 2 },
          ...SHARED_PROCESSES,
          ...SERVICES,
        },
      },
      {
        extends: true,
        test: {
          name: "flows",
          include: ["test/flows/**/*.test.ts"],
          sequence: { groupOrder: 3 },
          ...SERVICES,
          ...LONG_TESTS,
        },
      },
      {
        extends: true,
        test: {
          name: "media-servers",
          include: ["test/media-servers/**/*.test.ts"],
          sequence: { groupOrder: 3 },
          ...SERVICES,
          ...LONG_TESTS,
        },
      },
      {
        extends: true,
        test: {
          name: "chaos",
          include: ["test/chaos/**/*.test.ts"],
          // One file at a time: each keeps both cores busy while it kills servers and databases.
          fileParallelism: false,
          sequence: { groupOrder: 4 },
          ...SERVICES,
          ...LONG_TESTS,
        },
      },
    ],
  },
});
