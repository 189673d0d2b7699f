import { z } from "zod";
import { StorableText, Title } from "./ids.ts";

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

export const Register = z.object({
  username: Username,
  email: Email,
  password: NewPassword,
  firstName: PersonName.optional(),
  lastName: PersonName.optional(),
});
export type Register = z.infer<typeof Register>;

/** Where a username is expected, an e-mail is accepted too. */
export const Login = z
  .object({
    username: StorableText.trim().normalize("NFKC").toLowerCase().min(1).max(255).optional(),
    email: Email.optional(),
    password: z.string().min(1).max(1000).normalize("NFKC"),
  })
  .refine((body) => (body.username === undefined) !== (body.email === undefined), {
    error: "expected username or email, one of the two",
    path: ["username"],
  });
export type Login = z.infer<typeof Login>;

export const User = z.object({
  id: z.string(),
  username: z.string().nullable(),
  email: z.string().nullable(),
  firstName: z.string().nullable(),
  lastName: z.string().nullable(),
  role: z.enum(["learner", "instructor", "admin"]),
});
export type User = z.infer<typeof User>;

/** The answer to a sign-in. */
export const SignedIn = z.object({
  token: z.string(),
  /** ISO 8601. */
  expiresAt: z.string(),
  user: User,
});
export type SignedIn = z.infer<typeof SignedIn>;

/** Sign-in by one click, where the demo runs. `name` or `new` makes a new learner; without them it is the demo's own. */
export const DemoSignIn = z.object({
  as: z.enum(["learner", "instructor"]),
  name: PersonName.optional(),
  new: z.boolean().optional(),
});
export type DemoSignIn = z.infer<typeof DemoSignIn>;
