import { readFileSync } from "node:fs";
import { join } from "node:path";

const FOLDER = join(import.meta.dirname, "../../docs/media-servers");

/** The text of a page about a media server, `nginx-rtmp` for example. */
export function readHowTo(name: string): string {
  return readFileSync(join(FOLDER, `${name}.md`), "utf8");
}

/**
 * The one configuration that such a page, or its section with this heading, has in this language.
 * @throws Error where there is none, or more than one
 */
export function readConfiguration(name: string, language: string, heading?: string): string {
  return readBlock(readHowTo(name), language, heading);
}

/**
 * The one block that a page, or its section with this heading, has in this language.
 * @throws Error where there is none, or more than one
 */
export function readBlock(page: string, language: string, heading?: string): string {
  const sections = page.split(/^## /m).filter((section) => heading === undefined || section.startsWith(`${heading}\n`));
  const found = [...sections.join("").matchAll(/^```(\S*)\n(.*?)^```$/gms)].filter(([, of]) => of === language);
  if (found.length !== 1) throw new Error(`the page has ${found.length} blocks of ${language}, not one`);
  return found[0]?.[2] as string;
}

/**
 * Replaces every occurrence, as in `{ "127.0.0.1:8080": "127.0.0.1:41234" }`.
 * @throws Error naming a text that is not there: the page has changed
 */
export function substitute(text: string, replacements: Record<string, string>): string {
  let result = text;
  for (const [from, to] of Object.entries(replacements)) {
    if (!result.includes(from)) throw new Error(`the configuration has no ${JSON.stringify(from)}`);
    result = result.replaceAll(from, to);
  }
  return result;
}
