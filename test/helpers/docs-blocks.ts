import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "../..");
/** Those that have pages, besides the root. */
const FOLDERS = ["docs", "deploy", "examples", "loadtest", "packages"];
const FENCE = /^( *)```(\S*)\n(.*?)^\1```$/gms;

/** A fenced block of a page. */
export interface DocsBlock {
  /** The page from the root, as in `docs/sdk.md`. */
  page: string;
  /** Where the block begins, from 1. */
  line: number;
  /** Empty where the block names none. */
  language: string;
  text: string;
}

/** Every fenced block of every page in Markdown that belongs to the project. */
export function readDocsBlocks(): DocsBlock[] {
  const inFolders = FOLDERS.flatMap((folder) =>
    readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" }).map((path) => `${folder}/${path}`),
  );
  const pages = [...readdirSync(ROOT), ...inFolders].filter((path) => /\.md$/.test(path) && !/node_modules/.test(path));
  return pages.sort().flatMap(readBlocksOf);
}

function readBlocksOf(page: string): DocsBlock[] {
  const source = readFileSync(join(ROOT, page), "utf8");
  const blocks = [...source.matchAll(FENCE)].map(({ index, 1: indent = "", 2: language = "", 3: text = "" }) => ({
    page,
    line: source.slice(0, index).split("\n").length,
    language,
    text: text.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
  }));
  const fences = source.match(/^ *```/gm)?.length ?? 0;
  if (fences !== blocks.length * 2) throw new Error(`${page} has ${fences} fences but ${blocks.length} whole blocks`);
  return blocks;
}
