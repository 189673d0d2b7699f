import type { Role } from "../protocol/roles.ts";

/** Who is calling, as a verified token says it. */
export interface Caller {
  /** The token's subject; also `users.id`. */
  userId: string;
  role: Role;
  /** When the token ends. */
  expiresAt: Date;
}

/**
 * Checks a token and tells whose it is.
 * @throws AppError `unauthenticated` for a token that is expired, forged or malformed, `unavailable` where it cannot be checked now.
 */
export type VerifyToken = (token: string) => Promise<Caller>;

/** A token and when it ends. */
export interface MintedToken {
  token: string;
  expiresAt: Date;
}

/** Mints a token of the built-in kind. `ttlSeconds` falls back to the configured one. */
export type MintToken = (who: { userId: string; role: Role }, ttlSeconds?: number) => Promise<MintedToken>;
