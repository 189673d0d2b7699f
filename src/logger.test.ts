import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { makeStreamKey } from "./streams/stream-key.ts";

const { streamKey, prefix } = makeStreamKey();

/** What a process of its own logs: lines go to standard error, past whatever a test could put in between. */
function logged(statements: string): string {
  const script = `import { createLogger } from ${JSON.stringify(new URL("logger.ts", import.meta.url).href)};
    const logger = createLogger({ level: "trace" }); const key = ${JSON.stringify(streamKey)}; ${statements}`;
  const loader = import.meta.resolve("tsx");
  const run = spawnSync(process.execPath, ["--import", loader, "--input-type=module", "-e", script], {
    encoding: "utf8",
  });
  expect(run.status).toBe(0);
  return run.stderr;
}

it("logs nothing of a stream key but its prefix, whatever has it", () => {
  const lines = logged(`
    logger.info({ body: { name: key }, [key]: 1 }, "asked with " + key);
    const error = new Error("Unexpected token in " + key, { cause: new Error(key) });
    logger.trace({ err: Object.assign(error, { detail: "Failing row contains (" + key + ")" }) }, "failed");
    logger.child({ [key]: key }).warn(key);`);
  expect(
    lines
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line).msg),
  ).toEqual([`asked with ${prefix}…`, "failed", `${prefix}…`]);
  expect(lines).toContain(`Failing row contains (${prefix}…)`);
  expect(lines).not.toContain(streamKey.slice(prefix.length, prefix.length + 6));
});
