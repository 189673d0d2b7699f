import { AppError } from "../errors.ts";
import { isStorableText } from "../protocol/ids.ts";

const STORED = ["app", "clientIp", "protocol", "sessionId", "reason"] as const;

/** @throws AppError `bad_request` for a text that PostgreSQL cannot hold */
export function assertStorable(texts: Partial<Record<(typeof STORED)[number], unknown>>): void {
  for (const path of STORED) {
    const text = texts[path];
    if (typeof text !== "string" || isStorableText(text)) continue;
    const message = "expected no U+0000 and no lone surrogate";
    throw new AppError("bad_request", `${path}: ${message}`, { issues: [{ path, message }] });
  }
}
