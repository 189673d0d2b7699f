import { describe, expect, it } from "vitest";
import { toNetwork } from "./network-address.ts";

describe("the network that a caller is counted under", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["2001:0db8:0001:0002:0003:0004:0005:0006", "2001:db8:1:2"],
    ["2001:db8:1:2::6", "2001:db8:1:2"],
    ["2001:DB8::6", "2001:db8:0:0"],
    ["::1", "0:0:0:0"],
    ["fe80::", "fe80:0:0:0"],
    ["unknown", "unknown"],
  ])("of the address %s is %s", (address, network) => {
    expect(toNetwork(address)).toBe(network);
  });
});
