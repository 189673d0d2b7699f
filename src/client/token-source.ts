/** A token, or a function that gets one. The SDK calls it at every connect and shortly before a token ends. */
export type TokenSource = string | (() => string | Promise<string>);

/**
 * The user that a token names. The token is not checked: this only keeps apart what several users play on one device.
 * @returns null where the token is no JWT with a subject
 */
export function toSubject(token: string): string | null {
  try {
    const payload = token.split(".")[1] ?? "";
    const bytes = Uint8Array.from(atob(payload.replaceAll("-", "+").replaceAll("_", "/")), (char) =>
      char.charCodeAt(0),
    );
    const { sub } = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown };
    return typeof sub === "string" && sub !== "" ? sub : null;
  } catch {
    return null;
  }
}
