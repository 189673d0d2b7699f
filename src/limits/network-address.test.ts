import { describe, expect, it } from "vitest";
import { networkOf, toNetwork } from "./network-address.ts";

describe("the network that a caller is counted under", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["2001:0db8:0001:0002:0003:0004:0005:0006", "2001:db8:1:2"],
    ["2001:db8:1:2::6", "2001:db8:1:2"],
    ["2001:DB8::6", "2001:db8:0:0"],
    ["::1", "0:0:0:0"],
    ["fe80::", "fe80:0:0:0"],
    ["unknown", "unknown"],
    ["_hidden", "unknown"],
    // With a port, as some proxies and load balancers write them.
    ["192.0.2.1:50123", "192.0.2.1"],
    ["[2001:db8:1:2::6]:50123", "2001:db8:1:2"],
    ["[2001:db8:1:2::6]", "2001:db8:1:2"],
    ['"[2001:db8:1:2::6]:50123"', "2001:db8:1:2"],
    [" 192.0.2.1 ", "192.0.2.1"],
    // IPv4 within IPv6: a server on `::` sees every IPv4 client so.
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::FFFF:192.0.2.1", "192.0.2.1"],
    ["::ffff:c000:201", "192.0.2.1"],
    ["0:0:0:0:0:ffff:c000:201", "192.0.2.1"],
    ["0000:0000:0000:0000:0000:ffff:c000:0201", "192.0.2.1"],
    ["[::ffff:192.0.2.1]:50123", "192.0.2.1"],
    ["64:ff9b::192.0.2.1", "192.0.2.1"],
    ["64:ff9b::c000:201", "192.0.2.1"],
    // Zones, and texts that only look like addresses.
    ["fe80::1%eth0", "fe80:0:0:0"],
    ["::", "0:0:0:0"],
    ["1::2::3", "unknown"],
    ["192.0.2.256", "unknown"],
    ["x".repeat(1000), "unknown"],
  ])("of the address %s is %s", (address, network) => {
    expect(toNetwork(address)).toBe(network);
  });

  it.each([
    ["10.0.0.1", undefined, "10.0.0.1"],
    ["10.0.0.1", "198.51.100.7, 192.0.2.1:4711", "192.0.2.1"],
    ["10.0.0.1", "198.51.100.7, ::ffff:192.0.2.1", "192.0.2.1"],
    ["10.0.0.1", " ", "10.0.0.1"],
    [undefined, undefined, "unknown"],
  ])("of a connection from %s with X-Forwarded-For %s is %s behind a trusted proxy", (remote, forwarded, network) => {
    expect(networkOf({ remoteAddress: remote, forwardedFor: forwarded }, { trustProxy: true })).toBe(network);
  });

  it("is the connection's own where no proxy is trusted", () => {
    const caller = { remoteAddress: "0000:0000:0000:0000:0000:ffff:c000:0201", forwardedFor: "198.51.100.7" };
    expect(networkOf(caller, { trustProxy: false })).toBe("192.0.2.1");
  });
});
