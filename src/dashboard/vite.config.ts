import { fileURLToPath } from "node:url";
import preact from "@preact/preset-vite";
import { defineConfig } from "vite";

const SERVER = "http://127.0.0.1:8080";

function toPath(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url));
}

/** Builds the pages into dist/dashboard. `npx vite src/dashboard` serves them for development, with a Playhead on port 8080. */
export default defineConfig({
  root: toPath("."),
  // The pages work at any path.
  base: "./",
  plugins: [preact()],
  server: { proxy: { "/v1": SERVER, "/socket.io": { target: SERVER, ws: true } } },
  build: {
    outDir: toPath("../../dist/dashboard"),
    emptyOutDir: true,
    // The server's content security policy forbids `data:` URLs.
    assetsInlineLimit: 0,
    // Swagger UI is one file; only /docs loads it.
    chunkSizeWarningLimit: 2000,
    modulePreload: { polyfill: false },
    rolldownOptions: { input: { index: toPath("index.html"), watch: toPath("watch.html"), docs: toPath("docs.html") } },
  },
});
