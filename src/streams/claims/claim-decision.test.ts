import { describe, expect, it } from "vitest";
import { refusalOf } from "../keys/key-refusal.ts";
import { type ActiveSession, type Claimant, type ClaimedStream, decideClaim } from "./claim-decision.ts";

const FREE: ClaimedStream = { status: "ready", policy: "first_wins", isExpired: false };
const CLAIMED_AT = new Date("2026-11-01T10:00:00Z");
const EARLIER = new Date("2026-11-01T09:59:59Z");
const LATER = new Date("2026-11-01T10:00:01Z");
const LIVE: ActiveSession = {
  server: "edge",
  boot: "b1",
  connection: "c1",
  state: "live",
  isReserved: false,
  claimedAt: CLAIMED_AT,
};
const RESERVED: ActiveSession = { ...LIVE, state: "reserved", isReserved: true };
const LAPSED: ActiveSession = { ...RESERVED, isReserved: false };
const RECONNECTING: ActiveSession = { ...LIVE, state: "reconnecting" };
const RETURNING: ActiveSession = { ...RECONNECTING, isReserved: true };
const SAME: Claimant = {
  server: "edge",
  boot: "b1",
  isBootDerived: false,
  connection: "c1",
  mayOust: "any",
  admittedAt: null,
};
const OTHER: Claimant = { ...SAME, connection: "c2" };
const ELSEWHERE: Claimant = { ...SAME, server: "elsewhere" };
const REBOOTED: Claimant = { ...SAME, boot: "b2", connection: "c9" };
const NGINX_AGAIN: Claimant = { ...SAME, boot: "2", isBootDerived: true };
const NGINX_OTHER: Claimant = { ...OTHER, boot: "1", isBootDerived: true };
const NGINX_LATER: Claimant = { ...OTHER, boot: "2", isBootDerived: true };
const LIVE_IN_FIRST_BOOT: ActiveSession = { ...LIVE, boot: "1" };
const TAKEOVER: ClaimedStream = { ...FREE, policy: "takeover" };
const LIVE_ALREADY = { kind: "refuse", reason: "already_live" };

describe("who gets a stream", () => {
  it.each<[string, ClaimedStream, ActiveSession | null, Claimant, object]>([
    ["the first to ask", FREE, null, SAME, { kind: "begin" }],
    ["whoever asks after the end", { ...FREE, status: "ended" }, null, SAME, { kind: "begin" }],
    ["nobody with a revoked key", { ...FREE, status: "revoked" }, null, SAME, { kind: "refuse", reason: "revoked" }],
    ["nobody with a disabled one", { ...FREE, status: "disabled" }, null, SAME, { kind: "refuse", reason: "disabled" }],
    ["nobody with an expired one", { ...FREE, status: "expired" }, null, SAME, { kind: "refuse", reason: "expired" }],
    ["nobody past its expiry", { ...FREE, isExpired: true }, null, SAME, { kind: "refuse", reason: "expired" }],
    [
      "not even who has it, past its expiry",
      { ...FREE, isExpired: true },
      LIVE,
      SAME,
      { kind: "refuse", reason: "expired" },
    ],
    [
      "a revoked one is that, also past its expiry",
      { ...FREE, status: "revoked", isExpired: true },
      null,
      SAME,
      { kind: "refuse", reason: "revoked" },
    ],

    ["who has reserved it and asks again", FREE, RESERVED, SAME, { kind: "same" }],
    ["who is live with it and asks again", FREE, LIVE, SAME, { kind: "same" }],
    ["who came back, reserved it and asks again", FREE, RETURNING, SAME, { kind: "same" }],
    ["who is late to start and asks again", FREE, LAPSED, SAME, { kind: "same" }],
    ["who publishes again over the same connection", FREE, RECONNECTING, SAME, { kind: "resume" }],

    ["not another while it is live", FREE, LIVE, OTHER, LIVE_ALREADY],
    ["not another while it is reserved", FREE, RESERVED, OTHER, LIVE_ALREADY],
    ["not another while the first is coming back", FREE, RETURNING, OTHER, LIVE_ALREADY],
    ["not the same connection id of another server", FREE, LIVE, ELSEWHERE, LIVE_ALREADY],
    ["another when the reservation lapsed", FREE, LAPSED, OTHER, { kind: "resume" }],
    ["another while it waits for its encoder", FREE, RECONNECTING, OTHER, { kind: "resume" }],
    ["another server's encoder while it waits", FREE, RECONNECTING, ELSEWHERE, { kind: "resume" }],

    ["any of a server that was started anew", FREE, LIVE, REBOOTED, { kind: "resume" }],
    ["any of a server that was started anew, though reserved", FREE, RESERVED, REBOOTED, { kind: "resume" }],
    ["the same connection id where that means a new boot", FREE, LIVE, NGINX_AGAIN, { kind: "resume" }],
    ["not another connection id where boots cannot be told", FREE, LIVE_IN_FIRST_BOOT, NGINX_OTHER, LIVE_ALREADY],
    ["another one of a later boot, which others have shown", FREE, LIVE_IN_FIRST_BOOT, NGINX_LATER, { kind: "resume" }],

    ["whoever takes it over", TAKEOVER, LIVE, OTHER, { kind: "oust", reason: "taken_over" }],
    ["whoever takes over what is reserved", TAKEOVER, RESERVED, OTHER, { kind: "oust", reason: "taken_over" }],
    ["the same who asks again, whatever the policy", TAKEOVER, LIVE, SAME, { kind: "same" }],
    ["nobody who cannot make the first let go", TAKEOVER, LIVE, { ...OTHER, mayOust: "other servers" }, LIVE_ALREADY],
    [
      "another server's where its own cannot let go",
      TAKEOVER,
      LIVE,
      { ...ELSEWHERE, mayOust: "other servers" },
      { kind: "oust", reason: "taken_over" },
    ],

    [
      "the earlier of two that were admitted apart",
      FREE,
      LIVE,
      { ...OTHER, admittedAt: EARLIER },
      { kind: "oust", reason: "already_live" },
    ],
    [
      "the earlier, whatever the policy",
      TAKEOVER,
      LIVE,
      { ...OTHER, admittedAt: EARLIER, mayOust: "other servers" },
      { kind: "oust", reason: "already_live" },
    ],
    ["not the later", FREE, LIVE, { ...OTHER, admittedAt: LATER }, LIVE_ALREADY],
    ["not the later, though it would take over", TAKEOVER, LIVE, { ...OTHER, admittedAt: LATER }, LIVE_ALREADY],
    ["not the later of two at the same moment", FREE, LIVE, { ...OTHER, admittedAt: CLAIMED_AT }, LIVE_ALREADY],
    [
      "whoever was admitted while it waits for its encoder",
      FREE,
      RECONNECTING,
      { ...OTHER, admittedAt: LATER },
      { kind: "resume" },
    ],
  ])("%s", (_, stream, active, claimant, decision) => {
    expect(decideClaim(stream, active, claimant)).toEqual(decision);
  });
});

it("refuses a key for what its status says, and for its expiry before that was written", () => {
  for (const status of ["ready", "live", "reconnecting", "ended"] as const) {
    expect(refusalOf({ status, isExpired: false })).toBeNull();
    expect(refusalOf({ status, isExpired: true })).toBe("expired");
  }
});
