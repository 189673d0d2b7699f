import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { AppError } from "../../errors.ts";
import { type DumpHeader, END_OF_ROWS, parseFooter, parseHeader } from "./dump-format.ts";

/*
 * Reads a dump that Playhead made without pg_dump, and runs its statements one by one. Every line is run as SQL, so
 * only a dump that is trusted may be restored.
 */

const NEWLINE = 10;
/** Rows go to the database in pieces of about this size. */
const PIECE_BYTES = 65_536;

/** A dump whose first line was read. */
export interface OpenDump {
  header: DumpHeader;
  /**
   * Runs the rest of the dump inside the caller's transaction.
   * @returns the number of rows by table
   * @throws AppError `bad_request` where the dump is cut off or damaged, or its rows are not as many as its last line
   * says
   */
  run(client: pg.ClientBase): Promise<Record<string, number>>;
}

/** @throws AppError `bad_request` where the text is no dump */
export async function openDump(text: AsyncIterable<Buffer>): Promise<OpenDump> {
  const lines = readLines(text)[Symbol.asyncIterator]();
  const first = await lines.next();
  const header = parseHeader(first.done ? "" : first.value.toString("utf8"));
  return { header, run: (client) => runStatements(client, lines) };
}

async function runStatements(client: pg.ClientBase, lines: AsyncIterator<Buffer>): Promise<Record<string, number>> {
  const rows: Record<string, number> = {};
  for (let next = await lines.next(); !next.done; next = await lines.next()) {
    const line = next.value.toString("utf8");
    const footer = parseFooter(line);
    if (footer !== null) {
      assertSameRows(rows, footer.rows);
      // To the end of the file: gzip's checksum stands there, and only then is all that was read known to be right.
      while (!(await lines.next()).done);
      return rows;
    }
    const table = /^COPY "((?:[^"]|"")+)" .* FROM stdin;$/.exec(line)?.[1];
    if (table !== undefined) rows[table.replaceAll('""', '"')] = await copyRows(client, line, lines);
    else if (line !== "" && !line.startsWith("--")) await client.query(line);
  }
  throw new AppError("bad_request", "The dump is cut off: its last line is missing.");
}

async function copyRows(client: pg.ClientBase, statement: string, lines: AsyncIterator<Buffer>): Promise<number> {
  const copy = client.query(copyFrom(statement));
  // Where one side fails, `pipeline` ends the other too, so the connection is free for the rollback.
  await pipeline(Readable.from(readRows(lines), { objectMode: false }), copy);
  return copy.rowCount;
}

async function* readRows(lines: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  let piece: Buffer[] = [];
  let bytes = 0;
  for (let next = await lines.next(); !next.done; next = await lines.next()) {
    const line = next.value;
    if (line.length === END_OF_ROWS.length && line.toString("latin1") === END_OF_ROWS) {
      if (piece.length > 0) yield Buffer.concat(piece);
      return;
    }
    piece.push(line, Buffer.of(NEWLINE));
    bytes += line.length + 1;
    if (bytes > PIECE_BYTES) {
      yield Buffer.concat(piece);
      piece = [];
      bytes = 0;
    }
  }
  throw new AppError("bad_request", "The dump is cut off in the middle of a table.");
}

function assertSameRows(got: Record<string, number>, expected: Record<string, number>): void {
  const different = [...new Set([...Object.keys(got), ...Object.keys(expected)])].filter(
    (table) => got[table] !== expected[table],
  );
  if (different.length === 0) return;
  const list = different.map((table) => `${table} ${got[table] ?? 0} of ${expected[table] ?? 0} rows`).join(", ");
  throw new AppError("bad_request", `The dump does not have the rows that its last line says: ${list}.`);
}

/** Yields lines without their newlines, also a last line that has none. */
async function* readLines(text: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let rest: Buffer[] = [];
  for await (const chunk of explainDamage(text)) {
    let from = 0;
    for (let at = chunk.indexOf(NEWLINE); at !== -1; at = chunk.indexOf(NEWLINE, from)) {
      const line = chunk.subarray(from, at);
      yield rest.length === 0 ? line : Buffer.concat([...rest, line]);
      rest = [];
      from = at + 1;
    }
    if (from < chunk.length) rest.push(chunk.subarray(from));
  }
  if (rest.length > 0) yield Buffer.concat(rest);
}

/** Turns zlib's codes for a file that is too short or was changed into messages. */
async function* explainDamage(text: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  try {
    yield* text;
  } catch (error) {
    const { code } = error as { code?: unknown };
    if (code === "Z_BUF_ERROR") {
      throw new AppError("bad_request", "The dump is cut off: the file ends too early.", { cause: error });
    }
    if (code === "Z_DATA_ERROR") throw new AppError("bad_request", "The dump is damaged.", { cause: error });
    throw error;
  }
}
