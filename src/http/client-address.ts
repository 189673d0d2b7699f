import type { Context } from "hono";
import { networkOf } from "../limits/network-address.ts";
import type { RouterTypes } from "./router.ts";

/** Returns the network that the caller is counted under. */
export type ClientAddress = (c: Context<RouterTypes>) => string;

export function createClientAddress({ trustProxy }: { trustProxy: boolean }): ClientAddress {
  return (c) =>
    networkOf({ remoteAddress: c.env?.remoteAddress, forwardedFor: c.req.header("x-forwarded-for") }, { trustProxy });
}
