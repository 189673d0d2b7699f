import { type Command, InvalidArgumentError, Option } from "commander";
import { loadAuthSecret } from "../auth/auth-secret.ts";
import { createBuiltinTokens } from "../auth/builtin-tokens.ts";
import { VARIABLES } from "../config.ts";
import { createPool } from "../db/pool.ts";
import { PersonName } from "../protocol/profile.ts";
import { ROLES, type Role } from "../protocol/roles.ts";
import { assertMigrated } from "./command-database.ts";
import type { CommandParts, Setting } from "./command-parts.ts";
import { parseUserId } from "./option-parsers.ts";

interface TokenOptions {
  user: string;
  role: Role;
  ttl?: number;
  name?: string;
}

/** Adds `token`. */
export function addTokenCommand(program: Command, { readSetting, print }: CommandParts): void {
  program
    .command("token")
    .description("print a built-in token, for scripts and tests")
    .requiredOption("--user <id>", "the token's user", parseUserId)
    .addOption(new Option("--role <role>", "the user's role").choices(ROLES).makeOptionMandatory())
    .option("--name <name>", "the name that people know the user by", parseName)
    .option("--ttl <seconds>", "how long the token is valid (default: TOKEN_TTL_SECONDS)", parseTtl)
    .action(async ({ user, role, ttl, name }: TokenOptions) => {
      const setting = readSetting();
      const secret = await loadSecret(setting);
      const { mint } = createBuiltinTokens({ secret, ttlSeconds: setting.config.TOKEN_TTL_SECONDS });
      const { token } = await mint({ userId: user, role, name }, ttl);
      print(token);
    });
}

/** Reads the secret of the servers on this database. With the embedded PostgreSQL a file has it, and nothing is started. */
async function loadSecret({ config, logger }: Setting): Promise<string> {
  if (config.DATABASE_URL === undefined || config.AUTH_SECRET !== undefined) {
    return await loadAuthSecret({ config, pool: null });
  }
  const pool = createPool({
    connectionString: config.DATABASE_URL,
    max: 1,
    queryTimeoutMs: config.QUERY_TIMEOUT_MS,
    applicationName: "playhead-token",
    logger,
  });
  try {
    await assertMigrated(pool);
    return await loadAuthSecret({ config, pool });
  } finally {
    await pool.end();
  }
}

function parseTtl(text: string): number {
  const result = VARIABLES.TOKEN_TTL_SECONDS.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError(result.error.issues.map((issue) => issue.message).join("; "));
}

function parseName(text: string): string {
  const result = PersonName.safeParse(text);
  if (result.success) return result.data;
  throw new InvalidArgumentError(result.error.issues.map((issue) => issue.message).join("; "));
}
