/** What a caller may do: a learner its own, an instructor its own courses, an admin all. */
export const ROLES = ["learner", "instructor", "admin"] as const;
export type Role = (typeof ROLES)[number];
