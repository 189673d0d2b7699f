import { z } from "zod";
import { doc } from "./doc.ts";

/** The longest token of a handshake, in characters. */
const MAX_TOKEN_CHARACTERS = 8192;
/** A token for examples: it has the form of one, and was signed by nobody. */
export const EXAMPLE_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJwbGF5aGVhZCIsInN1YiI6ImJvYiJ9.c2lnbmF0dXJl";

/** The token in the handshake of a socket, and the payload of `token:refresh`. */
export const TokenAuth = z.object({
  token: z
    .string()
    .min(1)
    .max(MAX_TOKEN_CHARACTERS)
    .meta(doc("A JWT: one of Playhead's own kind, or a Firebase ID token.", EXAMPLE_TOKEN)),
});
