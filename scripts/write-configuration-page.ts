import { writeFile } from "node:fs/promises";
import { renderConfigurationPage } from "../src/cli/configuration-docs.ts";

await writeFile(new URL("../docs/configuration.md", import.meta.url), renderConfigurationPage());
