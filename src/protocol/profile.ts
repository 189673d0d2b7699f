import { z } from "zod";
import { doc } from "./doc.ts";
import { Title } from "./ids.ts";

/** The name that people know a user by: up to 500 characters. */
export const PersonName = Title;

/** The body that sets a profile. `name: null` takes the name back; then the name of the user's token or account holds. */
export const ProfileChange = z
  .strictObject({
    name: PersonName.nullable().meta(
      doc("The name; null takes it back, and the token's or the account's holds.", "Bob Miller"),
    ),
  })
  .meta({ id: "ProfileChange", ...doc("The name to set.") });
export type ProfileChange = z.infer<typeof ProfileChange>;

/** What people know a user by. */
export const Profile = z
  .object({
    userId: z.string().meta(doc("The user.", "bob")),
    name: z.string().nullable().meta(doc("The name; null where nobody has told one.", "Bob Miller")),
  })
  .meta({ id: "Profile", ...doc("What people know a user by.") });
export type Profile = z.infer<typeof Profile>;
