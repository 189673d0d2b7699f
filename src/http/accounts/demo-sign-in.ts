import { randomBytes } from "node:crypto";
import type { MintToken } from "../../auth/caller.ts";
import type { RateLimit } from "../../limits/rate-limit.ts";
import { DemoSignIn, SignedIn } from "../../protocol/account.ts";
import type { ClientAddress } from "../client-address.ts";
import { createRoute, jsonBody, jsonContent, PROBLEMS, PUBLIC, type Router } from "../router.ts";

const signIn = createRoute({
  method: "post",
  path: "/v1/demo/sign-in",
  operationId: "signInToDemo",
  security: PUBLIC,
  tags: ["Demo"],
  summary: "Sign in to the demo with one click",
  description:
    "Only while the demo runs. With `name` or `new` it makes a new learner; otherwise the learner or instructor that is always there signs in.",
  request: { body: jsonBody(DemoSignIn) },
  responses: { 200: jsonContent(SignedIn, "As login answers."), ...PROBLEMS },
});

export interface DemoParts {
  mintToken: MintToken;
  limitAddress: RateLimit;
  clientAddress: ClientAddress;
}

/** Adds the sign-in without a password. To be called only if the demo runs. */
export function addDemoSignIn(router: Router, { mintToken, limitAddress, clientAddress }: DemoParts): void {
  router.openapi(signIn, async (c) => {
    await limitAddress(clientAddress(c));
    const asked = c.req.valid("json");
    const id = toDemoId(asked);
    const { token, expiresAt } = await mintToken({ userId: id, role: asked.as, name: asked.name });
    const user = { id, username: null, email: null, firstName: asked.name ?? null, lastName: null, role: asked.as };
    return c.json({ token, expiresAt: expiresAt.toISOString(), user }, 200);
  });
}

function toDemoId({ as, name, new: isNew }: DemoSignIn): string {
  if (as === "instructor") return "demo-instructor";
  return name === undefined && isNew !== true ? "demo-learner" : `demo-learner-${randomBytes(12).toString("hex")}`;
}
