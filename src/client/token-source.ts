/** A token, or how to get one: called at every connect and shortly before a token ends. */
export type TokenSource = string | (() => string | Promise<string>);

export async function loadToken(source: TokenSource): Promise<string> {
  return typeof source === "string" ? source : await source();
}

/**
 * Whose token it is, read without checking it: only to keep what one user played apart from what another did on
 * the same device. Null where the token is no JWT.
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
