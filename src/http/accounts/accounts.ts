import type { Accounts } from "../../auth/accounts.ts";
import { AppError } from "../../errors.ts";
import type { RateLimit } from "../../limits/rate-limit.ts";
import { Login, Register, SignedIn } from "../../protocol/account.ts";
import type { ClientAddress } from "../client-address.ts";
import { createRoute, type HttpApp, jsonBody, jsonContent, PROBLEMS } from "../http-app.ts";

export const SignedInSchema = SignedIn.meta({ id: "SignedIn" });

const register = createRoute({
  method: "post",
  path: "/v1/auth/register",
  tags: ["Accounts"],
  summary: "Make an account, and sign in",
  description: "Whoever registers is a learner. A taken username or e-mail is a `conflict`.",
  request: { body: jsonBody(Register.meta({ id: "Register" })) },
  responses: { 201: jsonContent(SignedInSchema, "The account was made."), ...PROBLEMS },
});

const login = createRoute({
  method: "post",
  path: "/v1/auth/login",
  tags: ["Accounts"],
  summary: "Sign in",
  description: "By `username` or `email`. After ten failures in 15 minutes an address must wait.",
  request: { body: jsonBody(Login.meta({ id: "Login" })) },
  responses: { 200: jsonContent(SignedInSchema, "A token, and when it ends."), ...PROBLEMS },
});

interface AccountParts {
  /** Null where built-in accounts are switched off. */
  accounts: Accounts | null;
  limitAddress: RateLimit;
  clientAddress: ClientAddress;
}

export function addAccountRoutes(app: HttpApp, { accounts, limitAddress, clientAddress }: AccountParts): void {
  app.use("/v1/auth/*", async (c, next) => {
    if (accounts === null) {
      throw new AppError("forbidden", "This server keeps no accounts of its own (BUILTIN_ACCOUNTS=false).");
    }
    await limitAddress(clientAddress(c));
    await next();
  });
  if (accounts === null) return;
  app.openapi(register, async (c) => c.json(await accounts.register(c.req.valid("json")), 201));
  app.openapi(login, async (c) => c.json(await accounts.login(c.req.valid("json"), clientAddress(c)), 200));
}
