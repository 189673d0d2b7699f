import { isIP } from "node:net";

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
  return toNetwork(forwarded || (remoteAddress ?? UNKNOWN_NETWORK));
}

/**
 * The network of an address in any spelling, with or without a port: the first four groups of an IPv6 address, since a
 * subscriber has a whole /64; an IPv4 address as it is, also where IPv6 carries it. Texts that are no addresses count as one.
 */
export function toNetwork(text: string): string {
  const address = toBareAddress(text.trim().toLowerCase());
  const family = isIP(address);
  if (family === 0) return UNKNOWN_NETWORK;
  if (family === 4) return address;
  const groups = toGroups(address);
  if (IPV4_PREFIXES.includes(groups.slice(0, 6).join(":"))) return toIpv4(groups[6] as string, groups[7] as string);
  return groups.slice(0, 4).join(":");
}

/** All texts that are no address count as one network, or a client could be a new one at every call. */
export const UNKNOWN_NETWORK = "unknown";
/** The first six groups of IPv6 addresses that carry an IPv4 address in the other two: mapped ones, and those of NAT64. */
const IPV4_PREFIXES = ["0:0:0:0:0:ffff", "64:ff9b:0:0:0:0"];

/** Without quotes, brackets, port and zone. */
function toBareAddress(text: string): string {
  const unquoted = text.replace(/^"(.*)"$/, "$1");
  const [, bracketed] = /^\[([^\]]*)\](?::\d+)?$/.exec(unquoted) ?? [];
  const [, withPort] = /^([\d.]+):\d+$/.exec(unquoted) ?? [];
  return (bracketed ?? withPort ?? unquoted).replace(/%.*$/, "");
}

/** The eight groups of an IPv6 address, without leading zeros. */
function toGroups(address: string): string[] {
  const [head = "", tail] = address.split("::");
  const groups = splitGroups(head);
  if (tail !== undefined) {
    const rest = splitGroups(tail);
    while (groups.length + rest.length < 8) groups.push("0");
    groups.push(...rest);
  }
  return groups.map((group) => group.replace(/^0+(?=.)/, ""));
}

function splitGroups(part: string): string[] {
  return part === "" ? [] : part.split(":").flatMap((group) => (group.includes(".") ? toHexGroups(group) : [group]));
}

function toHexGroups(ipv4: string): string[] {
  const [a = 0, b = 0, c = 0, d = 0] = ipv4.split(".").map(Number);
  return [(a * 256 + b).toString(16), (c * 256 + d).toString(16)];
}

function toIpv4(high: string, low: string): string {
  const bytes = [high, low].flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 255];
  });
  return bytes.join(".");
}
