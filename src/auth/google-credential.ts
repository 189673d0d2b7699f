import { readFile } from "node:fs/promises";
import { applicationDefault, type Credential } from "firebase-admin/app";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";

/*
 * The credentials of this machine, as Google's libraries find them: the file that GOOGLE_APPLICATION_CREDENTIALS
 * names, what `gcloud auth application-default login` left, or Google's own machines'.
 */

const SEARCH_MS = 10_000;

/** @throws AppError `unavailable` where the file that is named cannot be read */
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
 * Finds the credentials; null, and a line in the log, where there are none. A file that is named stands, also while
 * Google is away; others are known only by asking for a first access token.
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
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("nothing was found in time")), SEARCH_MS);
  });
  try {
    await Promise.race([credential.getAccessToken(), tooLate]);
    return credential;
  } catch (error) {
    logger.warn(
      { reason: (error as Error).message },
      "no Google credentials were found, so revoked tokens and disabled users of Firebase are not noticed before their tokens end; set GOOGLE_APPLICATION_CREDENTIALS",
    );
    return null;
  } finally {
    clearTimeout(timer);
  }
}
