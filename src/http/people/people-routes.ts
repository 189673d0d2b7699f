import { AppError } from "../../errors.ts";
import type { Profiles } from "../../people/profiles.ts";
import { doc } from "../../protocol/doc.ts";
import { Id, NewUserId } from "../../protocol/ids.ts";
import { Profile, ProfileChange } from "../../protocol/profile.ts";
import type { Bearer } from "../bearer.ts";
import { BEARER, createRoute, jsonBody, jsonContent, PROBLEMS, type Router, z } from "../router.ts";

const userId = doc("The user.", "bob");

export interface PeopleParts {
  profiles: Profiles;
  bearer: Bearer;
}

/** Adds the routes of what people know a user by. */
export function addPeopleRoutes(router: Router, { profiles, bearer }: PeopleParts): void {
  const shared = { tags: ["People"], middleware: bearer.required, security: BEARER };

  const read = createRoute({
    ...shared,
    method: "get",
    path: "/v1/users/{userId}/profile",
    operationId: "getProfile",
    summary: "Read the name that people know a user by",
    description: "By the user itself or an admin.",
    request: { params: z.object({ userId: Id.meta(userId) }) },
    responses: { 200: jsonContent(Profile, "The profile; `name: null` where nobody has told one."), ...PROBLEMS },
  });
  router.openapi(read, async (c) => {
    const { userId } = c.req.valid("param");
    const { caller } = c.var;
    if (caller.role !== "admin" && caller.userId !== userId)
      throw new AppError("forbidden", "Only the user itself or an admin may read a profile.");
    return c.json(await profiles.read(userId), 200);
  });

  const put = createRoute({
    ...shared,
    method: "put",
    path: "/v1/users/{userId}/profile",
    operationId: "putProfile",
    summary: "Set the name that people know a user by",
    description:
      "By an admin: usually a backend. The name comes before the claim `name` of the user's tokens, and before the names of its account.",
    request: { params: z.object({ userId: NewUserId.meta(userId) }), body: jsonBody(ProfileChange) },
    responses: { 200: jsonContent(Profile, "The profile after the change."), ...PROBLEMS },
  });
  router.openapi(put, async (c) => {
    if (c.var.caller.role !== "admin") throw new AppError("forbidden", "Only an admin may set a profile.");
    return c.json(await profiles.put(c.req.valid("param").userId, c.req.valid("json").name), 200);
  });
}
