import { z } from "zod";
import { doc } from "./doc.ts";
import { StorableText, Title } from "./ids.ts";
import { ROLES } from "./roles.ts";
import { EXAMPLE_TOKEN } from "./token.ts";

/** bcrypt ignores everything after these bytes, so a longer password is refused. */
const MAX_PASSWORD_BYTES = 72;
const MIN_PASSWORD_CHARACTERS = 8;

/** A name to sign in with. Names that differ only in case are the same. Without an `@` no name looks like an e-mail. */
const USERNAME = /^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]*$/u;
const Username = z
  .string()
  .trim()
  .normalize("NFKC")
  .toLowerCase()
  .max(50)
  .min(1)
  // Not `.regex()`: a JSON schema cannot carry the flag `u`.
  .refine((text) => USERNAME.test(text), { error: "expected letters, digits, dots, dashes and underscores" });

const Email = z.string().trim().toLowerCase().max(255).regex(z.regexes.email, { error: "expected an e-mail address" });

const NewPassword = z
  .string()
  .normalize("NFKC")
  .min(MIN_PASSWORD_CHARACTERS)
  .refine((text) => new TextEncoder().encode(text).byteLength <= MAX_PASSWORD_BYTES, {
    error: `expected at most ${MAX_PASSWORD_BYTES} bytes of UTF-8`,
  })
  .refine((text) => !text.includes("\u0000"), { error: "expected no U+0000" });

const PersonName = Title.max(100);

export const Register = z
  .object({
    username: Username.meta(doc("The name to sign in with: letters, digits, dots, dashes and underscores.", "bob")),
    email: Email.meta(doc("An e-mail address.", "bob@example.org")),
    password: NewPassword.meta(doc("8 characters to 72 bytes of UTF-8.", "correct horse battery")),
    firstName: PersonName.optional().meta(doc("The first name.", "Bob")),
    lastName: PersonName.optional().meta(doc("The last name.", "Miller")),
  })
  .meta({ id: "Register", ...doc("A new account.") });
export type Register = z.infer<typeof Register>;

/** Where a username is expected, an e-mail is accepted too. */
export const Login = z
  .object({
    username: StorableText.trim()
      .normalize("NFKC")
      .toLowerCase()
      .min(1)
      .max(255)
      .optional()
      .meta(doc("The username, or the e-mail address.", "bob")),
    email: Email.optional().meta(doc("The e-mail address, in place of `username`.", "bob@example.org")),
    password: z.string().min(1).max(1000).normalize("NFKC").meta(doc("The password.", "correct horse battery")),
  })
  .refine((body) => (body.username === undefined) !== (body.email === undefined), {
    error: "expected username or email, one of the two",
    path: ["username"],
  })
  .meta({
    id: "Login",
    ...doc("A username or an e-mail address, and the password.", {
      username: "bob",
      password: "correct horse battery",
    }),
  });
export type Login = z.infer<typeof Login>;

export const User = z
  .object({
    id: z
      .string()
      .meta(doc("The id, which is the subject of the user's tokens.", "0198f2f4-6c1c-7b7e-9b37-3a2f6f0d9c11")),
    username: z.string().nullable().meta(doc("The name to sign in with; null if there is none.", "bob")),
    email: z.string().nullable().meta(doc("The e-mail address; null if it is not known.", "bob@example.org")),
    firstName: z.string().nullable().meta(doc("The first name; null if it is not known.", "Bob")),
    lastName: z.string().nullable().meta(doc("The last name; null if it is not known.", "Miller")),
    role: z.enum(ROLES).meta(doc("What the user may do.", "learner")),
  })
  .meta({ id: "User", ...doc("An account.") });
export type User = z.infer<typeof User>;

/** The answer to a sign-in. */
export const SignedIn = z
  .object({
    token: z.string().meta(doc("A JWT for `Authorization: Bearer`, and for the handshake of a socket.", EXAMPLE_TOKEN)),
    expiresAt: z.string().meta(doc("When the token ends, ISO 8601.", "2026-11-21T15:17:17.000Z")),
    user: User,
  })
  .meta({ id: "SignedIn", ...doc("A token, and whose it is.") });
export type SignedIn = z.infer<typeof SignedIn>;

/** Sign-in by one click, where the demo runs. `name` or `new` makes a new learner; without them it is the demo's own. */
export const DemoSignIn = z
  .object({
    as: z.enum(["learner", "instructor"]).meta(doc("The role to sign in with.", "learner")),
    name: PersonName.optional().meta(doc("Makes a new learner of this name.", "Bob")),
    new: z.boolean().optional().meta(doc("Makes a new learner without a name.", true)),
  })
  .meta({ id: "DemoSignIn", ...doc("Who to sign in as.") });
export type DemoSignIn = z.infer<typeof DemoSignIn>;
