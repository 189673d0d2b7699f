import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { makeTemporaryFolder } from "../../test/helpers/temporary-folder.ts";
import { assertCredentialFile, findCredential } from "./google-credential.ts";

let folder: string;
beforeEach(async () => {
  folder = await makeTemporaryFolder();
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

describe("the search for Google credentials", () => {
  it("refuses a named file that is missing or is not JSON", async () => {
    const file = join(folder, "key.json");
    await expect(assertCredentialFile(file)).rejects.toThrow(/GOOGLE_APPLICATION_CREDENTIALS.*key\.json/);
    await writeFile(file, "not JSON");
    await expect(assertCredentialFile(file)).rejects.toThrow(/GOOGLE_APPLICATION_CREDENTIALS/);
    await writeFile(file, "{}");
    await expect(assertCredentialFile(file)).resolves.toBeUndefined();
    await expect(assertCredentialFile(undefined)).resolves.toBeUndefined();
  });

  it("warns in one line of the log if there are none", async () => {
    vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", undefined);
    vi.stubEnv("CLOUDSDK_CONFIG", folder);
    vi.stubEnv("HOME", folder);
    vi.stubEnv("METADATA_SERVER_DETECTION", "none"); // as on a machine outside Google's cloud
    const lines: string[] = [];
    const logger = pino({ level: "warn" }, { write: (line: string) => void lines.push(line) });
    expect(await findCredential({ file: undefined, logger })).toBeNull();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("revoked tokens");
  });
});
