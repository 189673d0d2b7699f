import { z } from "zod";
import { AppError } from "../../errors.ts";

/*
 * The text of a dump that Playhead makes without pg_dump: SQL with one statement a line, and rows as COPY takes them.
 * The first and the last line are comments with facts in JSON. A dump without the last line was cut off.
 */

export const END_OF_ROWS = "\\.";
const HEADER_PREFIX = "-- Playhead dump 2: ";
const FOOTER_PREFIX = "-- Playhead dump ends: ";

const Header = z.object({
  takenAt: z.string(),
  /** The version of the server. */
  postgres: z.string(),
  /** SHA-256 by name of the numbered migrations that the dumped database has had. */
  migrations: z.record(z.string(), z.string()),
  /** SHA-256 by name of its functions. */
  functions: z.record(z.string(), z.string()),
});
const Footer = z.object({ rows: z.record(z.string(), z.number()) });

export type DumpHeader = z.infer<typeof Header>;
/** The number of rows by table. */
export type DumpFooter = z.infer<typeof Footer>;

export function formatHeader(header: DumpHeader): string {
  return HEADER_PREFIX + JSON.stringify(header);
}

export function formatFooter(footer: DumpFooter): string {
  return FOOTER_PREFIX + JSON.stringify(footer);
}

/** @throws AppError `bad_request` where a dump does not begin with this line */
export function parseHeader(line: string): DumpHeader {
  const header = parse(Header, HEADER_PREFIX, line);
  if (header === null) {
    throw new AppError("bad_request", "This is no dump of Playhead, or another version of Playhead made it.");
  }
  return header;
}

/** @returns null where a dump does not end with this line */
export function parseFooter(line: string): DumpFooter | null {
  return parse(Footer, FOOTER_PREFIX, line);
}

function parse<T>(schema: z.ZodType<T>, prefix: string, line: string): T | null {
  if (!line.startsWith(prefix)) return null;
  try {
    return schema.parse(JSON.parse(line.slice(prefix.length)));
  } catch {
    return null;
  }
}
