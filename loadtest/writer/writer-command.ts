import { readWholeNumber } from "../harness/flags.ts";
import type { Run } from "../harness/section.ts";
import { runWriterBench, type WriterBenchOptions } from "./writer-bench.ts";

/** For tuning the SQL: it prints, and is no part of the report. */
export const writerCommand = {
  name: "writer",
  summary: "the writer alone against a bare batch, for tuning its SQL; prints, and is no part of the report",
  flags: {
    "--users N": "users that write (default 20,000)",
    "--files N": "files a user has (default 20)",
    "--seconds N": "longest a phase takes, both writers together (default 8)",
    "--explain": "EXPLAIN ANALYZE of one batch of each phase",
  },
  limitSeconds: 240,
  /** @throws FlagError */
  parse({ isQuick, flags }: Pick<Run, "isQuick" | "flags">): WriterBenchOptions {
    return {
      users: readWholeNumber(flags, "users", { usual: 20_000, most: 1_000_000 }),
      files: readWholeNumber(flags, "files", { usual: 20, most: 1000 }),
      seconds: readWholeNumber(flags, "seconds", { usual: isQuick ? 3 : 8, most: 20 }),
      batchSize: 1000,
      explain: flags.explain !== undefined,
    };
  },
  run: runWriterBench,
};
