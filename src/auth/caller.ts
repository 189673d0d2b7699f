import type { Role } from "../protocol/roles.ts";

/** The user who is calling, as a verified token names them. */
export interface Caller {
  /** The token's subject, equal to `users.id`. */
  userId: string;
  role: Role;
  /** What people know the user by, if the token says it. */
  name?: string;
  /** When the token ends. */
  expiresAt: Date;
}

/**
 * Checks a token and names its user.
 * @throws AppError `unauthenticated` if the token is expired, forged or malformed; `unavailable` if it cannot be checked now
 */
export type VerifyToken = (token: string) => Promise<Caller>;

/** A new token and its end. */
export interface MintedToken {
  token: string;
  expiresAt: Date;
}

/** Mints a built-in token. Without `ttlSeconds` it lives as long as the configuration says. */
export type MintToken = (
  who: { userId: string; role: Role; name?: string | undefined },
  ttlSeconds?: number,
) => Promise<MintedToken>;
