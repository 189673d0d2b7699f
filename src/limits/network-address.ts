/*
 * Where a caller comes from, as calls without a name are counted: one way for sockets and HTTP.
 */

/**
 * The network at the other end of the connection, or, behind a proxy that is trusted, the one the proxy saw: the last
 * entry of X-Forwarded-For, since all others are the client's own words.
 */
export function networkOf(
  { remoteAddress, forwardedFor }: { remoteAddress: string | undefined; forwardedFor: string | undefined },
  { trustProxy }: { trustProxy: boolean },
): string {
  const forwarded = trustProxy ? forwardedFor?.split(",").at(-1)?.trim() : undefined;
  return toNetwork(forwarded || (remoteAddress ?? "unknown"));
}

/** A subscriber has a whole /64 of IPv6 addresses: its first four groups are what counts. */
export function toNetwork(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.toLowerCase().split("::");
  const groups = head === "" ? [] : head.split(":");
  if (tail !== undefined) {
    const rest = tail === "" ? 0 : tail.split(":").length;
    while (groups.length + rest < 8) groups.push("0");
    groups.push(...tail.split(":"));
  }
  return groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":");
}
