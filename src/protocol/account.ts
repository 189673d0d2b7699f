import { z } from "zod";
import { Title } from "./ids.ts";

/** bcrypt reads no further: what a longer password has past them would not count, so it is refused. */
const MAX_PASSWORD_BYTES = 72;
const MIN_PASSWORD_CHARACTERS = 8;

/** A name to sign in with. Case does not tell two people apart; without an `@` it is never taken for an e-mail. */
const USERNAME = /^[\p{L}\p{N}][\p{L}\p{M}\p{N}._-]*$/u;
const Username = z
  .string()
  .trim()
  .normalize("NFKC")
  .toLowerCase()
  .max(50)
  .min(1)
  // Not .regex(): JSON schema has no place for its flag.
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

/** An e-mail is also taken where a username is asked. */
export const Login = z
  .object({
    username: z.string().trim().normalize("NFKC").toLowerCase().min(1).max(255).optional(),
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

/** What signing in is answered with. */
export const SignedIn = z.object({
  token: z.string(),
  /** ISO 8601. */
  expiresAt: z.string(),
  user: User,
});
export type SignedIn = z.infer<typeof SignedIn>;

/** One-click sign-in, where the demo runs. With `name` or `new` a learner of its own, else the one that is always there. */
export const DemoSignIn = z.object({
  as: z.enum(["learner", "instructor"]),
  name: PersonName.optional(),
  new: z.boolean().optional(),
});
export type DemoSignIn = z.infer<typeof DemoSignIn>;
