import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { VARIABLES } from "../config.ts";
import { renderConfigurationPage } from "./configuration-docs.ts";

const page = renderConfigurationPage();

describe("docs/configuration.md", () => {
  it("is the page that `npm run docs:configuration` makes of the schema", async () => {
    const written = await readFile(new URL("../../docs/configuration.md", import.meta.url), "utf8");
    expect(written).toBe(page);
  });

  it("has a row with a purpose for every variable", () => {
    for (const name of Object.keys(VARIABLES)) {
      expect(page).toMatch(new RegExp(`^\\| \`${name}\` \\| [^|]+ \\| [^|]* \\| [^|]{15,} \\|$`, "m"));
    }
  });

  it("shows the values that a variable takes, and its default", () => {
    expect(page).toContain("| `PORT` | 0 to 65535 | `8080` |");
    expect(page).toContain("| `BUILTIN_ACCOUNTS` | `true`, `false` | `true` |");
    expect(page).toContain("| `SOCKET_TRANSPORTS` | a list, comma-separated | `websocket` |");
    expect(page).toContain("| `PLAYHEAD_DATA_DIR` | a text | `.playhead` |");
    expect(page).toContain("| `AUTH_SECRET` | a text of at least 32 characters |  |");
  });
});
