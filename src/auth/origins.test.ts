import { describe, expect, it } from "vitest";
import { isAllowedOrigin } from "./origins.ts";

const HOST = "progress.example.org:8443";

describe("an origin", () => {
  it.each([
    ["none, which no browser sends", undefined, HOST, []],
    ["our own", `https://${HOST}`, HOST, []],
    ["one that is listed", "https://app.example.org", HOST, ["https://app.example.org"]],
    ["any, where all are allowed", "https://evil.example", HOST, ["*"]],
  ])("may connect: %s", (_, origin, host, allowed) => {
    expect(isAllowedOrigin(origin, host, allowed)).toBe(true);
  });

  it.each([
    ["another's", "https://evil.example", HOST, []],
    ["one that begins with ours", `https://${HOST}.evil.example`, HOST, []],
    ["one that begins with ours, without a port", "https://example.org.evil.example", "example.org", []],
    ["one that ends with ours", `https://evil-${HOST}`, HOST, []],
    ["ours as a user name", `https://${HOST}@evil.example`, HOST, []],
    ["our name on another port", "https://progress.example.org", HOST, []],
    ["a listed one's subdomain", "https://a.app.example.org", HOST, ["https://app.example.org"]],
    ["a listed one with another scheme", "http://app.example.org", HOST, ["https://app.example.org"]],
    ["a listed one's beginning", "https://app.example", HOST, ["https://app.example.org"]],
    ["null, of a sandboxed page", "null", HOST, []],
    ["nothing", "", HOST, []],
    ["ours, where the request names no host", `https://${HOST}`, undefined, []],
  ])("may not connect: %s", (_, origin, host, allowed) => {
    expect(isAllowedOrigin(origin, host, allowed)).toBe(false);
  });
});
