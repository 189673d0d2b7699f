import { readFile } from "node:fs/promises";
import { applicationDefault, type Credential } from "firebase-admin/app";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { withinTime } from "../within-time.ts";

/*
 * This machine's Google credentials, as Google's libraries find them: the file that GOOGLE_APPLICATION_CREDENTIALS
 * names, the file that `gcloud auth application-default login` wrote, or the service account of a machine at Google.
 * https://cloud.google.com/docs/authentication/application-default-credentials
 */

const SEARCH_MS = 10_000;

/** @throws AppError `unavailable` if the file at `path` cannot be read as JSON */
export async function assertCredentialFile(path: string | undefined): Promise<void> {
  if (path === undefined) return;
  try {
    JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    throw new AppError(
      "unavailable",
      `GOOGLE_APPLICATION_CREDENTIALS: got ${JSON.stringify(path)}; expected the path of a JSON file that can be read`,
      { cause },
    );
  }
}

/**
 * Finds the credentials. Null, after a warning in the log, if there are none. A named `file` is not tried, so the server
 * starts while Google is away; other credentials are found by asking for an access token.
 */
export async function findCredential({
  file,
  logger,
}: {
  file: string | undefined;
  logger: Logger;
}): Promise<Credential | null> {
  const credential = applicationDefault();
  if (file !== undefined) return credential;
  try {
    await withinTime(credential.getAccessToken(), SEARCH_MS, () => new Error("no credentials were found in time"));
    return credential;
  } catch (error) {
    logger.warn(
      { reason: (error as Error).message },
      "no Google credentials were found, so revoked tokens and disabled users of Firebase are not noticed before their tokens end; set GOOGLE_APPLICATION_CREDENTIALS",
    );
    return null;
  }
}
