import { isIP } from "node:net";
import type { Context } from "hono";
import { AppError } from "../../errors.ts";
import { parseWire } from "../../protocol/ack.ts";
import { Id } from "../../protocol/ids.ts";
import { StreamKey } from "../../protocol/stream.ts";
import type { MediaServer } from "../../streams/publish-gate.ts";
import { toServerIdentity } from "../../streams/server-identity.ts";
import type { RouterTypes } from "../router.ts";
import { z } from "../router.ts";
import type { Dialect } from "./hook-secret.ts";

/*
 * The fields that the dialects share. A field that a media server leaves out or empty is undefined here.
 */

/** A short text that the database can store. */
export const Label = z
  .string()
  .transform((text) => text || undefined)
  .pipe(Id.optional())
  .optional();

export const Protocol = z
  .string()
  .transform((text) => text.toLowerCase() || undefined)
  .pipe(Id.max(32).optional())
  .optional();

/** An IP address. Another text (a socket's path, the URL of a relay) says nothing about the encoder, and is undefined. */
export const ClientIp = z
  .string()
  .transform((text) => (isIP(text) === 0 ? undefined : text))
  .optional();

const Query = z.object({ server: Id.optional(), boot: Id.optional() });

/**
 * The media server and its boot, as the hook's address names them, and otherwise as the body does. Its kind is part of
 * it: the secret was checked for this dialect alone.
 * @throws AppError `bad_request`
 */
export function readServer(c: Context<RouterTypes>, dialect: Dialect, otherwise: MediaServer): MediaServer {
  const { server, boot } = parseWire(Query, { server: c.req.query("server"), boot: c.req.query("boot") });
  return { name: toServerIdentity(dialect, server ?? otherwise.name), boot: boot ?? otherwise.boot };
}

/**
 * Checks a stream key that was found in `field`.
 * @throws AppError `bad_request`
 */
export function toStreamKey(text: string, field: string): string {
  if (StreamKey.safeParse(text).success) return text;
  throw new AppError("bad_request", `${field}: expected a stream key of 1 to 255 characters`);
}
