import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import type { Role } from "../../src/protocol/roles.ts";
import { AUTH_SECRET } from "./server-env.ts";

/** Mints and checks the tokens of the servers that tests start. */
export const tokens = createBuiltinTokens({ secret: AUTH_SECRET, ttlSeconds: 3600 });

/** Mints a token that those servers accept, valid for an hour unless told otherwise. */
export async function mintToken(userId: string, role: Role = "learner", ttlSeconds?: number): Promise<string> {
  return (await tokens.mint({ userId, role }, ttlSeconds)).token;
}
