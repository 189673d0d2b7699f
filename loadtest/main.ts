import { parseArgs } from "node:util";
import { runAndEnd } from "./cleanup.ts";

/* `npm run loadtest` and `npm run loadtest -- writer`; see README.md here. */

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: "string" },
    users: { type: "string" },
    files: { type: "string" },
    explain: { type: "boolean", default: false },
  },
});

function numberOf(name: "seconds" | "users" | "files", fallback: number): number {
  const value = Number(values[name] ?? fallback);
  if (!Number.isFinite(value) || value <= 0)
    throw new Error(`--${name}: got ${values[name]}; expected a number above 0`);
  return value;
}

async function benchWriter(): Promise<void> {
  const { runWriterBench } = await import("./writer-bench.ts");
  await runWriterBench({
    users: numberOf("users", 20_000),
    files: numberOf("files", 20),
    batchSize: 1000,
    seconds: numberOf("seconds", 12),
    explain: values.explain,
  });
}

if (positionals[0] === "writer") await runAndEnd(benchWriter, 240);
