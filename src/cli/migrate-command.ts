import type { Command } from "commander";
import { migrate } from "../db/migrate.ts";
import { withCommandDatabase } from "./command-database.ts";
import type { CommandParts } from "./command-parts.ts";

/** Adds `migrate`. */
export function addMigrateCommand(program: Command, { readSetting, print }: CommandParts): void {
  program
    .command("migrate")
    .description("give the database the tables and functions that this version needs")
    .action(async () => {
      const setting = readSetting();
      const { migrations, functions } = await withCommandDatabase(setting, ({ directUrl }) =>
        migrate({ connectionString: directUrl, logger: setting.logger }),
      );
      const applied = [...migrations, ...(functions.length > 0 ? [`functions: ${functions.join(", ")}`] : [])];
      print(applied.length === 0 ? "Nothing to migrate" : `Applied ${applied.join(", ")}`);
    });
}
