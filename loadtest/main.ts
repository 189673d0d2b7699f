import { runAndEnd } from "./harness/cleanup.ts";
import { parseOptions, TIME_LIMIT_SECONDS, USAGE } from "./options.ts";

/* `npm run loadtest` and `npm run loadtest -- writer`; README.md beside this says what the figures mean. */

const { command, options } = parseOptions(process.argv.slice(2));
if (command === "server") {
  const { runServerLoad } = await import("./ingest/server-load.ts");
  await runAndEnd(() => runServerLoad(options), TIME_LIMIT_SECONDS);
} else if (command === "writer") {
  const { runWriterBench } = await import("./writer/writer-bench.ts");
  await runAndEnd(() => runWriterBench({ ...options, batchSize: 1000 }), TIME_LIMIT_SECONDS);
} else {
  console.log(USAGE);
  process.exitCode = command === "help" ? 0 : 1;
}
