/*
 * The network that a caller without a valid token is counted under, for sockets and HTTP alike.
 */

/**
 * The network of the caller. Behind a trusted proxy it is that of the last entry of X-Forwarded-For, which the proxy
 * added; the client may have written the others.
 */
export function networkOf(
  { remoteAddress, forwardedFor }: { remoteAddress: string | undefined; forwardedFor: string | undefined },
  { trustProxy }: { trustProxy: boolean },
): string {
  const forwarded = trustProxy ? forwardedFor?.split(",").at(-1)?.trim() : undefined;
  return toNetwork(forwarded || (remoteAddress ?? "unknown"));
}

/** The first four groups of an IPv6 address, since a subscriber has a whole /64; an IPv4 address as it is. */
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
