import { randomUUID } from "node:crypto";
import { type Pool, write } from "../db/pool.ts";
import { AppError } from "../errors.ts";
import { createRateLimit } from "../limits/rate-limit.ts";
import type { Login, Register, SignedIn, User } from "../protocol/account.ts";
import type { Role } from "../protocol/roles.ts";
import type { MintToken } from "./caller.ts";
import { createLoginThrottle } from "./login-throttle.ts";
import { createPasswordHasher } from "./password-hasher.ts";

/*
 * The built-in accounts: a name, an e-mail address and a bcrypt hash in the table `users`. A new account is a
 * learner's; other roles are given in the database. A failed login does not tell whether the name or the password was
 * wrong, neither by its message nor by the time that it takes.
 */

/** Accounts that one network may ask for: a class that registers together, and then one every nine seconds. */
const REGISTRATIONS = { burst: 100, perSecond: 100 / (15 * 60) };
const COLUMNS = "id, username, email, password, first_name, last_name, role";

export interface Accounts {
  /**
   * Makes a learner's account. `address` is the network under which registrations are counted.
   * @throws AppError `conflict` if the username or e-mail is taken; `rate_limited`
   */
  register(account: Register, address: string): Promise<SignedIn>;
  /** `address` is the network under which failures are counted. @throws AppError `unauthenticated`, `rate_limited` */
  login(credentials: Login, address: string): Promise<SignedIn>;
  /** Fails the sign-ins that still wait for their hash. */
  stop(): Promise<void>;
}

interface UserRow {
  id: string;
  username: string | null;
  email: string | null;
  password: string | null;
  first_name: string | null;
  last_name: string | null;
  role: Role;
}

export function createAccounts(
  { pool, mintToken }: { pool: Pool; mintToken: MintToken },
  options: { bcryptCost?: number } = {},
): Accounts {
  const passwords = createPasswordHasher(options.bcryptCost === undefined ? {} : { cost: options.bcryptCost });
  const throttle = createLoginThrottle();
  const limitRegistrations = createRateLimit(REGISTRATIONS);
  let decoyHash: Promise<string> | null = null;

  /** The hash for a login under an unknown name, so that it takes as long as a login with a wrong password. */
  function loadDecoyHash(): Promise<string> {
    decoyHash ??= passwords.makeHash(randomUUID()).catch((error: unknown) => {
      decoyHash = null;
      throw error;
    });
    return decoyHash;
  }

  async function findConflict(username: string): Promise<AppError> {
    const { rowCount } = await pool.query("select from users where username = $1", [username]);
    const taken = rowCount === 0 ? "e-mail address" : "username";
    return new AppError("conflict", `There is an account of this ${taken} already; sign in, or choose another.`);
  }

  async function signIn(row: UserRow): Promise<SignedIn> {
    const { token, expiresAt } = await mintToken({ userId: row.id, role: row.role });
    return { token, expiresAt: expiresAt.toISOString(), user: toUser(row) };
  }

  return {
    async register({ username, email, password, firstName, lastName }, address) {
      await limitRegistrations(address);
      const hash = await passwords.hash(password, address);
      // A violation of uniqueness would be an error, and PostgreSQL's log would quote the name.
      const { rows } = await write<UserRow>(
        pool,
        `insert into users (id, username, email, password, first_name, last_name, role)
         values ($1, $2, $3, $4, $5, $6, 'learner') on conflict do nothing returning ${COLUMNS}`,
        [randomUUID(), username, email, hash, firstName ?? null, lastName ?? null],
      );
      const [row] = rows;
      if (row === undefined) throw await findConflict(username);
      return signIn(row);
    },

    async login({ username, email, password }, address) {
      const name = email ?? (username as string);
      const column = name.includes("@") ? "email" : "username";
      const { rows } = await pool.query<UserRow>(`select ${COLUMNS} from users where ${column} = $1`, [name]);
      const [row] = rows;
      // Failures count for the account, under whichever of its names they come.
      const succeeded = await throttle.attempt(row === undefined ? `name ${name}` : `id ${row.id}`, address);
      const matches = await passwords.matches(password, row?.password ?? (await loadDecoyHash()), address);
      if (row?.password == null || !matches) {
        throw new AppError("unauthenticated", "The name or the password is wrong.");
      }
      await succeeded();
      return signIn(row);
    },

    stop: () => passwords.stop(),
  };
}

function toUser(row: UserRow): User {
  return {
    id: row.id,
    username: row.username,
    email: row.email,
    firstName: row.first_name,
    lastName: row.last_name,
    role: row.role,
  };
}
