import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "vite";
import { expect, it } from "vitest";

/** What a page loads for `attachPlayer`, beside socket.io-client. */
const MAX_BYTES = 6850;

it(`needs at most ${MAX_BYTES} compressed bytes for attachPlayer, beside socket.io-client`, async () => {
  const result = await build({
    configFile: false,
    root: fileURLToPath(new URL("../..", import.meta.url)),
    logLevel: "warn",
    build: {
      write: false,
      minify: true,
      rolldownOptions: {
        input: fileURLToPath(new URL("attach-player.ts", import.meta.url)),
        external: ["socket.io-client"],
        preserveEntrySignatures: "strict",
      },
    },
  });
  const [first] = [result].flat();
  if (!first || !("output" in first)) throw new Error("expected Vite to build the client library");
  const bytes = gzipSync(first.output[0].code, { level: 9 }).length;
  expect(bytes).toBeGreaterThan(3000);
  expect(bytes).toBeLessThanOrEqual(MAX_BYTES);
});
