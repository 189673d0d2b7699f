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

describe("Google's credentials", () => {
  it("that are named have to be there", async () => {
    const file = join(folder, "key.json");
    await expect(assertCredentialFile(file)).rejects.toThrow(/GOOGLE_APPLICATION_CREDENTIALS.*key\.json/);
    await writeFile(file, "not JSON");
    await expect(assertCredentialFile(file)).rejects.toThrow(/GOOGLE_APPLICATION_CREDENTIALS/);
    await writeFile(file, "{}");
    await expect(assertCredentialFile(file)).resolves.toBeUndefined();
    await expect(assertCredentialFile(undefined)).resolves.toBeUndefined();
  });

  it("that are nowhere are told of in one line of the log", async () => {
    vi.stubEnv("GOOGLE_APPLICATION_CREDENTIALS", undefined);
    vi.stubEnv("CLOUDSDK_CONFIG", folder);
    vi.stubEnv("HOME", folder);
    vi.stubEnv("METADATA_SERVER_DETECTION", "none"); // no machine of Google's
    const lines: string[] = [];
    const logger = pino({ level: "warn" }, { write: (line: string) => void lines.push(line) });
    expect(await findCredential({ file: undefined, logger })).toBeNull();
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain("revoked tokens");
  });
});
