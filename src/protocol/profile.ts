import { z } from "zod";
import { Title } from "./ids.ts";

/** The name that people know a user by: up to 500 characters. */
export const PersonName = Title;

/** The body that sets a profile. `name: null` takes the name back; then the name of the user's token or account holds. */
export const ProfileChange = z.strictObject({ name: PersonName.nullable() });
export type ProfileChange = z.infer<typeof ProfileChange>;

/** What people know a user by. */
export const Profile = z.object({
  userId: z.string(),
  /** Null where nobody has told a name. */
  name: z.string().nullable(),
});
export type Profile = z.infer<typeof Profile>;
