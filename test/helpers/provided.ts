/* What the global setup gives to every test file, by `inject`. */

export type { ProvidedContext } from "vitest";

declare module "vitest" {
  export interface ProvidedContext {
    /** The database `postgres` of the PostgreSQL that all test files share. */
    postgresUrl: string;
    /** The data folder that `makeDataFolder` copies. */
    preparedFolder: string;
    /** The seed of everything random in this run. */
    seed: number;
  }
}
