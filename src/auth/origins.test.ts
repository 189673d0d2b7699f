import { describe, expect, it, vi } from "vitest";
import { createRefusedOrigins, isAllowedOrigin } from "./origins.ts";

const HOST = "progress.example.org:8443";

describe("an origin", () => {
  it.each([
    ["no origin, as outside a browser", undefined, HOST, []],
    ["our own origin", `https://${HOST}`, HOST, []],
    ["an origin in the list", "https://app.example.org", HOST, ["https://app.example.org"]],
    ["our own origin, with the default port in the Host header", "https://a.example", "a.example:443", []],
    ["our own origin over HTTP, with the default port", "http://a.example", "a.example:80", []],
    ["our own origin, in other letters", "https://a.example", "A.Example", []],
    ["our own IPv6 address", "http://[::1]:8080", "[::1]:8080", []],
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
    ["our host on the default port of the other scheme", "https://a.example", "a.example:80", []],
    ["our host behind a user name in the Host header", "https://evil.example", "a.example@evil.example", []],
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

describe("a refused origin", () => {
  it("is logged once", () => {
    const warn = vi.fn();
    const log = createRefusedOrigins({ warn });
    for (const origin of ["https://evil.example", "https://evil.example", "https://other.example"]) log(origin);
    expect(warn.mock.calls.map(([{ origin }]) => origin)).toEqual(["https://evil.example", "https://other.example"]);
  });

  it("is not logged after a hundred others, so that strangers cannot fill the log", () => {
    const warn = vi.fn();
    const log = createRefusedOrigins({ warn });
    for (let i = 0; i < 1000; i++) log(`https://${i}.example`);
    expect(warn).toHaveBeenCalledTimes(100);
  });
});
