import { UserDeleted } from "../../auth/deleted-users.ts";
import { AppError } from "../../errors.ts";
import type { UserData } from "../../people/user-data.ts";
import { doc } from "../../protocol/doc.ts";
import { Id } from "../../protocol/ids.ts";
import { UserExport } from "../../protocol/user-export.ts";
import type { Bearer } from "../bearer.ts";
import { longJson } from "../long-json.ts";
import { BEARER, createRoute, jsonContent, type Middleware, PROBLEMS, type Router, z } from "../router.ts";

const params = z.object({ userId: Id.meta(doc("The user.", "bob")) });

export interface UserDataParts {
  userData: UserData;
  bearer: Bearer;
}

/** Adds the routes by which a user, or an admin, takes all data of the user along, or deletes it. */
export function addUserDataRoutes(router: Router, { userData, bearer }: UserDataParts): void {
  const shared = { tags: ["People"], security: BEARER };

  const read = createRoute({
    ...shared,
    middleware: [bearer.required, ownOnly] as const,
    method: "get",
    path: "/v1/users/{userId}/export",
    operationId: "exportUser",
    summary: "Export everything that is stored of a user",
    description:
      "By the user itself or an admin. Stream keys and passwords are stored as hashes only, and are not in it.",
    request: { params },
    responses: { 200: jsonContent(UserExport, "The data, as it was at one moment."), ...PROBLEMS },
  });
  router.openapi(read, async (c) => longJson(c, await userData.export(c.req.valid("param").userId)));

  const remove = createRoute({
    ...shared,
    middleware: [deletedAlready, bearer.required, ownOnly] as const,
    method: "delete",
    path: "/v1/users/{userId}",
    operationId: "deleteUser",
    summary: "Delete everything that is stored of a user",
    description:
      "By the user itself or an admin. Account, progress, activity and streams are deleted, what is live is ended, and the user's sockets are closed. Tokens that were issued before are refused from then on, and nothing that a player has kept comes back. Idempotent.",
    request: { params },
    responses: { 204: { description: "Nothing is stored of the user any more." }, ...PROBLEMS },
  });
  router.openapi(remove, async (c) => {
    await userData.remove(c.req.valid("param").userId);
    return c.body(null, 204);
  });
}

const ownOnly: Middleware = async (c, next) => {
  const { caller } = c.var;
  if (caller.role !== "admin" && caller.userId !== c.req.param("userId"))
    throw new AppError("forbidden", "Only the user itself or an admin may do this.");
  await next();
};

/** The user repeats the call, perhaps because its answer was lost: the token was refused because of it. */
const deletedAlready: Middleware = async (c, next) => {
  await next();
  const error: unknown = c.error;
  if (!(error instanceof UserDeleted) || error.userId !== c.req.param("userId")) return;
  c.res = new Response(null, { status: 204 });
};
