import { defineConfig } from "vitest/config";

const SERVICES = { globalSetup: ["test/helpers/global-setup.ts"], testTimeout: 60_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    // uWebSockets.js ends the whole run in a worker thread; in a process of its own it is alone.
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
        },
      },
      {
        extends: true,
        test: {
          name: "integration",
          include: ["src/**/*.integration.test.ts"],
          sequence: { groupOrder: 2 },
          ...SERVICES,
        },
      },
      {
        extends: true,
        test: {
          name: "flows",
          include: ["test/flows/**/*.test.ts"],
          // One at a time: each starts servers, browsers and databases, and kills them under load.
          fileParallelism: false,
          sequence: { groupOrder: 3 },
          ...SERVICES,
          testTimeout: 180_000,
        },
      },
    ],
  },
});
