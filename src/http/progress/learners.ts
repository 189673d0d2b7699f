import type { Caller } from "../../auth/caller.ts";
import type { Catalogue, Editor } from "../../catalogue/catalogue.ts";
import { AppError } from "../../errors.ts";
import type { OperationTarget, SharedProgressService } from "../../progress/progress-service.ts";
import { doc } from "../../protocol/doc.ts";
import { Id, NewUserId } from "../../protocol/ids.ts";
import { CourseProgress } from "../../protocol/progress.ts";
import type { Bearer } from "../bearer.ts";
import { requireOwnCourse } from "../courses/course-rights.ts";
import { longJson } from "../long-json.ts";
import { BEARER, createRoute, jsonContent, PROBLEMS, type Router, z } from "../router.ts";

const Cuts = z
  .object({
    userId: z.string().meta(doc("The user.", "bob")),
    cutSeconds: z.number().meta(doc("The seconds that were claimed and not credited.", 42.5)),
    beats: z.number().meta(doc("How many heartbeats something was cut from.", 3)),
    processes: z.number().meta(doc("How many server processes were asked and answered.", 2)),
  })
  .meta({ id: "BudgetCuts", ...doc("What was cut from a user's watching.") });

const Change = z.object({
  fileId: Id.optional().meta(doc("A file of the course; without it the whole course is meant.", "demo-intro")),
});
const Completion = Change.extend({
  source: z
    .enum(["manual", "waived"])
    .default("manual")
    .meta(
      doc("`manual` if the learner completed it elsewhere, `waived` if the learner need not complete it.", "manual"),
    ),
});
const Changed = z
  .object({ ok: z.literal(true).meta(doc("The change is durable.", true)), progress: CourseProgress })
  .meta({ id: "LearnerChanged", ...doc("The learner's progress in the course after the change.") });

const courseId = Id.meta(doc("The course.", "demo"));
const userId = Id.meta(doc("The learner.", "bob"));

export interface LearnerParts {
  catalogue: Catalogue;
  progress: SharedProgressService;
  bearer: Bearer;
}

/** Adds the routes by which an admin, or the course's instructor, sees and changes the progress of learners. */
export function addLearners(router: Router, { catalogue, progress, bearer }: LearnerParts): void {
  const shared = { tags: ["Learners"], middleware: bearer.required, security: BEARER };

  const cuts = createRoute({
    ...shared,
    method: "get",
    path: "/v1/users/{userId}/cuts",
    operationId: "getCuts",
    summary: "Tell how much of a user's watching was cut",
    description:
      "By an admin. What all server processes have cut, each since it started, because the user claimed more watching than time had passed for. A process that does not answer within a second is left out: `processes` tells how many were counted.",
    request: { params: z.object({ userId }) },
    responses: { 200: jsonContent(Cuts, "The cuts."), ...PROBLEMS },
  });
  router.openapi(cuts, async (c) => {
    if (c.var.caller.role !== "admin") throw new AppError("forbidden", "Only an admin may see what was cut.");
    const { userId } = c.req.valid("param");
    const { cutMs, beats, processes } = await progress.cutsOf(userId);
    return c.json({ userId, cutSeconds: cutMs / 1000, beats, processes }, 200);
  });

  /** Declares a change of a learner's progress, with this body. */
  const declare = <S extends z.ZodType>(verb: "reset" | "complete" | "uncomplete", summary: string, body: S) =>
    createRoute({
      ...shared,
      method: "post",
      path: `/v1/courses/{courseId}/learners/{userId}/${verb}`,
      operationId: `${verb}Learner`,
      summary,
      description: "By an admin or the course's instructor. A file of another course is `not_found`.",
      request: {
        params: z.object({ courseId, userId: NewUserId.meta(doc("The learner.", "bob")) }),
        // The body is optional: without it the whole course is meant.
        body: { content: { "application/json": { schema: body } } },
      },
      responses: { 200: jsonContent(Changed, "The learner's progress in the course after the change."), ...PROBLEMS },
    });

  const target = (caller: Caller, courseId: string, fileId: string | undefined) =>
    requireTarget(catalogue, caller, courseId, fileId);
  const answer = async (userId: string, courseId: string) => ({
    ok: true as const,
    progress: await progress.readCourse(userId, courseId),
  });

  router.openapi(declare("reset", "Reset progress to zero, under a new epoch", Change), async (c) => {
    const { courseId, userId } = c.req.valid("param");
    const { caller } = c.var;
    await progress.reset(userId, await target(caller, courseId, c.req.valid("json").fileId), toEditor(caller));
    return longJson(c, await answer(userId, courseId));
  });

  router.openapi(declare("complete", "Complete by hand", Completion), async (c) => {
    const { courseId, userId } = c.req.valid("param");
    // Without a body the validator does not fill in defaults.
    const { fileId, source = "manual" } = c.req.valid("json");
    const { caller } = c.var;
    await progress.complete(userId, await target(caller, courseId, fileId), { source, by: toEditor(caller) });
    return longJson(c, await answer(userId, courseId));
  });

  router.openapi(declare("uncomplete", "Take a completion back", Change), async (c) => {
    const { courseId, userId } = c.req.valid("param");
    const { caller } = c.var;
    await progress.uncomplete(userId, await target(caller, courseId, c.req.valid("json").fileId), toEditor(caller));
    return longJson(c, await answer(userId, courseId));
  });
}

function toEditor({ userId, role }: Caller): Editor {
  return { userId, role };
}

/**
 * The file or course that the caller means. Refuses here what needs no lock to be refused; the operation decides anew.
 * @throws AppError `forbidden`, `not_found`
 */
async function requireTarget(
  catalogue: Catalogue,
  caller: Caller,
  courseId: string,
  fileId: string | undefined,
): Promise<OperationTarget> {
  await requireOwnCourse(catalogue, caller, courseId);
  if (fileId === undefined) return { courseId };
  const file = await catalogue.findFile(fileId);
  if (file?.courseId !== courseId) throw new AppError("not_found", "The course has no file of this id.");
  return { courseId, fileId };
}
