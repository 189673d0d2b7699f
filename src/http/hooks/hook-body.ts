import type { Context } from "hono";
import { AppError } from "../../errors.ts";
import type { HttpTypes } from "../http-app.ts";

/*
 * Reads what media servers post. No message repeats anything of the body, and no cause is kept: parsers quote what
 * they stumble over, and that may be a stream key.
 */

/** @throws AppError `bad_request`, also where a field comes twice */
export async function readForm(c: Context<HttpTypes>): Promise<Record<string, string>> {
  const fields = [...new URLSearchParams(await readText(c, "application/x-www-form-urlencoded"))];
  // What an encoder puts behind its key stands in the same form: a second `name` would be its word against the server's.
  if (new Set(fields.map(([name]) => name)).size < fields.length) {
    throw new AppError("bad_request", "A field of the form comes more than once.");
  }
  return Object.fromEntries(fields);
}

/** @throws AppError `bad_request` */
export async function readJson(c: Context<HttpTypes>): Promise<unknown> {
  const text = await readText(c, "application/json");
  try {
    return JSON.parse(text);
  } catch {
    throw new AppError("bad_request", "The body is not JSON.");
  }
}

async function readText(c: Context<HttpTypes>, type: string): Promise<string> {
  const given = c.req.header("content-type")?.split(";")[0]?.trim().toLowerCase();
  if (given !== type) throw new AppError("bad_request", `The body has to come as \`content-type: ${type}\`.`);
  const body = await c.req.arrayBuffer();
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    throw new AppError("bad_request", "The body is not UTF-8.");
  }
}
