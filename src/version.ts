import { readFileSync } from "node:fs";

/** Playhead's own version, as package.json has it. */
export function readVersion(): string {
  // package.json is one folder up from src, and from dist.
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
