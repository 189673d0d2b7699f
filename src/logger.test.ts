import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { makeStreamKey } from "./streams/keys/stream-key.ts";

const { streamKey, prefix } = makeStreamKey();

/** Returns the lines that another process logs: they go straight to standard error, where a test cannot intercept them. */
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

it("logs only the prefix of a stream key, in messages, fields, names of fields and errors", () => {
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

it("logs no row that PostgreSQL quotes where a value or a constraint refuses it, and the details of all other errors", () => {
  const lines = logged(`
    for (const code of ["23505", "22001", "40P01"])
      logger.warn({ err: Object.assign(new Error("failed"), { code, detail: "Key (username)=(zelda) in " + code }) }, "failed");`);
  expect(lines.match(/\(zelda\) in \w+/g)).toEqual(["(zelda) in 40P01"]);
});
