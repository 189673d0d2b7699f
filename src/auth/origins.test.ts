import { describe, expect, it } from "vitest";
import { isAllowedOrigin } from "./origins.ts";

const HOST = "progress.example.org:8443";

describe("an origin", () => {
  it.each([
    ["no origin, as outside a browser", undefined, HOST, []],
    ["our own origin", `https://${HOST}`, HOST, []],
    ["an origin in the list", "https://app.example.org", HOST, ["https://app.example.org"]],
    ["any origin if all are allowed", "https://evil.example", HOST, ["*"]],
  ])("is allowed: %s", (_, origin, host, allowed) => {
    expect(isAllowedOrigin(origin, host, allowed)).toBe(true);
  });

  it.each([
    ["another site's origin", "https://evil.example", HOST, []],
    ["an origin that begins with ours", `https://${HOST}.evil.example`, HOST, []],
    ["an origin that begins with ours, without a port", "https://example.org.evil.example", "example.org", []],
    ["an origin that ends with ours", `https://evil-${HOST}`, HOST, []],
    ["our host as a user name", `https://${HOST}@evil.example`, HOST, []],
    ["our host on another port", "https://progress.example.org", HOST, []],
    ["a subdomain of an origin in the list", "https://a.app.example.org", HOST, ["https://app.example.org"]],
    ["an origin in the list with another scheme", "http://app.example.org", HOST, ["https://app.example.org"]],
    ["the beginning of an origin in the list", "https://app.example", HOST, ["https://app.example.org"]],
    ["null, the origin of a sandboxed page", "null", HOST, []],
    ["an empty origin", "", HOST, []],
    ["our origin if the request names no host", `https://${HOST}`, undefined, []],
  ])("is refused: %s", (_, origin, host, allowed) => {
    expect(isAllowedOrigin(origin, host, allowed)).toBe(false);
  });
});
