import type { Command } from "commander";
import { createUserData, type UserData } from "../people/user-data.ts";
import { toJsonSlices } from "../protocol/json-slices.ts";
import { withMigratedPool } from "./command-database.ts";
import type { CommandParts } from "./command-parts.ts";
import { parseId } from "./option-parsers.ts";
import { toPlainText } from "./text-table.ts";

/*
 * `playhead users …`: what an operator does for a user who asks for the data, or for its deletion. A running server hears of
 * a deletion by notification.
 */

/** Adds `users` and its commands. */
export function addUserCommands(program: Command, parts: CommandParts): void {
  const users = program.command("users").description("export or delete everything that is stored of a user");
  users
    .command("export")
    .description("print everything that is stored of a user, as one JSON object")
    .argument("<id>", "the user's id", parseId)
    .action((id: string) =>
      withUserData(parts, async (userData) => {
        parts.print((await toJsonSlices(await userData.export(id))).join(""));
      }),
    );
  users
    .command("delete")
    .description("delete everything that is stored of a user; tokens that were issued before are refused from then on")
    .argument("<id>", "the user's id", parseId)
    .action((id: string) =>
      withUserData(parts, async (userData) => {
        await userData.remove(id);
        parts.print(`user ${toPlainText(id)} is deleted`);
        parts.note("Backups keep what they hold: delete the user again after a restore of an older one.");
      }),
    );
}

async function withUserData(parts: CommandParts, work: (userData: UserData) => Promise<void>): Promise<void> {
  const setting = parts.readSetting();
  const options = { applicationName: "playhead-users", max: 1, queryTimeoutMs: setting.config.QUERY_TIMEOUT_MS };
  await withMigratedPool(setting, options, (pool) => work(createUserData({ pool, onDeleted: () => undefined })));
}
