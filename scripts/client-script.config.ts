import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

const toPath = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

/** Builds dist/dashboard/client/playhead.js: the client library as one script, among the files that the server serves. */
export default defineConfig({
  root: toPath(".."),
  publicDir: false,
  build: {
    outDir: toPath("../dist/dashboard/client"),
    emptyOutDir: true,
    sourcemap: true,
    rolldownOptions: {
      input: toPath("../src/client/page-script.ts"),
      output: { format: "iife", entryFileNames: "playhead.js" },
    },
  },
});
