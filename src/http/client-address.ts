import type { Context } from "hono";
import type { HttpTypes } from "./http-app.ts";

/** Names the network a caller is counted under. */
export type ClientAddress = (c: Context<HttpTypes>) => string;

/**
 * The address at the other end of the connection, or, behind a proxy that is trusted, the one the proxy saw: the
 * last entry of X-Forwarded-For, since all others are the client's own words.
 */
export function createClientAddress({ trustProxy }: { trustProxy: boolean }): ClientAddress {
  return (c) => {
    const forwarded = trustProxy ? c.req.header("x-forwarded-for")?.split(",").at(-1)?.trim() : undefined;
    return toNetwork(forwarded || (c.env?.remoteAddress ?? "unknown"));
  };
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
