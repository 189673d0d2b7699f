import type { Accounts } from "../../auth/accounts.ts";
import type { MintToken } from "../../auth/caller.ts";
import { AppError } from "../../errors.ts";
import type { RateLimit } from "../../limits/rate-limit.ts";
import { Login, Register, SignedIn } from "../../protocol/account.ts";
import type { ClientAddress } from "../client-address.ts";
import { createRoute, jsonBody, jsonContent, PROBLEMS, PUBLIC, type Router } from "../router.ts";
import { addDemoSignIn } from "./demo-sign-in.ts";

const register = createRoute({
  method: "post",
  path: "/v1/auth/register",
  operationId: "register",
  security: PUBLIC,
  tags: ["Accounts"],
  summary: "Make an account, and sign in",
  description: "A new account is a learner's. A taken username or e-mail is a `conflict`.",
  request: { body: jsonBody(Register) },
  responses: { 201: jsonContent(SignedIn, "The account was made."), ...PROBLEMS },
});

const login = createRoute({
  method: "post",
  path: "/v1/auth/login",
  operationId: "signIn",
  security: PUBLIC,
  tags: ["Accounts"],
  summary: "Sign in",
  description:
    "By `username` or `email`. In 15 minutes an account may fail 10 times from one address and 100 times in all, and an address 100 times; past that the answer is `rate_limited`.",
  request: { body: jsonBody(Login) },
  responses: { 200: jsonContent(SignedIn, "A token, and when it ends."), ...PROBLEMS },
});

export interface AccountParts {
  config: { demo: boolean };
  /** Null if built-in accounts are switched off. */
  accounts: Accounts | null;
  mintToken: MintToken;
  limitAddress: RateLimit;
  clientAddress: ClientAddress;
}

/** Adds the routes by which users register and sign in. */
export function addAccountRoutes(router: Router, parts: AccountParts): void {
  addBuiltinAccounts(router, parts);
  if (parts.config.demo) addDemoSignIn(router, parts);
}

function addBuiltinAccounts(router: Router, { accounts, limitAddress, clientAddress }: AccountParts): void {
  router.use("/v1/auth/*", async (c, next) => {
    if (accounts === null) {
      throw new AppError("forbidden", "This server keeps no accounts of its own (BUILTIN_ACCOUNTS=false).");
    }
    await limitAddress(clientAddress(c));
    await next();
  });
  if (accounts === null) return;
  router.openapi(register, async (c) => c.json(await accounts.register(c.req.valid("json"), clientAddress(c)), 201));
  router.openapi(login, async (c) => c.json(await accounts.login(c.req.valid("json"), clientAddress(c)), 200));
}
