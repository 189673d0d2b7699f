import type { Context } from "hono";
import { AppError } from "../../errors.ts";
import type { RouterTypes } from "../router.ts";

/*
 * Reads the bodies that media servers post. No message quotes the body, and no cause is kept, because parsers quote the text
 * that they cannot read, which may be a stream key.
 */

/** @throws AppError `bad_request`, also if a field comes twice */
export async function readForm(c: Context<RouterTypes>): Promise<Record<string, string>> {
  const fields = [...new URLSearchParams(await readText(c, "application/x-www-form-urlencoded"))];
  // The form also contains the query that an encoder puts behind its key: a second `name` would be the encoder's.
  if (new Set(fields.map(([name]) => name)).size < fields.length) {
    throw new AppError("bad_request", "A field of the form comes more than once.");
  }
  return Object.fromEntries(fields);
}

/** @throws AppError `bad_request` */
export async function readJson(c: Context<RouterTypes>): Promise<unknown> {
  const text = await readText(c, "application/json");
  try {
    return JSON.parse(text);
  } catch {
    throw new AppError("bad_request", "The body is not JSON.");
  }
}

async function readText(c: Context<RouterTypes>, type: string): Promise<string> {
  const given = c.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (given !== type) throw new AppError("bad_request", `The body must come as \`content-type: ${type}\`.`);
  const body = await c.req.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw new AppError("bad_request", "The body is not UTF-8.");
  }
}
