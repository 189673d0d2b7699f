import { z } from "zod";
import { AppError } from "../errors.ts";
import { NewUserId } from "../protocol/ids.ts";
import { PersonName } from "../protocol/profile.ts";

/*
 * The claims that both kinds of token have. Whatever a signed token contains, nothing past this schema can fail on it.
 */

/** The end of the year 9999, in seconds: no `Date` and no database ends before it. A token in milliseconds lies past it. */
const LAST_SECOND = 253_402_300_799;

/** A moment in seconds since 1970, as tokens carry it. */
export const TokenInstant = z.number().min(0).max(LAST_SECOND, { error: "expected seconds since 1970" });

/** The claims of every token. A name that cannot be shown is left out: it is no reason to refuse the token. */
export const Claims = z.object({ sub: NewUserId, exp: TokenInstant, name: PersonName.optional().catch(undefined) });

/**
 * Reads the claims of a token whose signature was checked. `getAnother` tells the caller what to do about a bad token.
 * @throws AppError `unauthenticated`, which names the claim and never repeats its value
 */
export function readClaims<S extends z.ZodType>(schema: S, payload: unknown, getAnother: string): z.output<S> {
  const result = schema.safeParse(payload);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const claim = issue?.path.join(".");
  const name = claim === "sub" ? "subject (`sub`)" : `\`${claim}\``;
  throw new AppError("unauthenticated", `The token's ${name}: ${issue?.message}; ${getAnother}.`);
}
