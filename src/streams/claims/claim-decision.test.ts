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

describe("a stream", () => {
  it.each<[string, ClaimedStream, ActiveSession | null, Claimant, object]>([
    ["goes to the first connection that asks", FREE, null, SAME, { kind: "begin" }],
    [
      "goes to any connection that asks after the last session ended",
      { ...FREE, status: "ended" },
      null,
      SAME,
      { kind: "begin" },
    ],
    [
      "goes to nobody with a revoked key",
      { ...FREE, status: "revoked" },
      null,
      SAME,
      { kind: "refuse", reason: "revoked" },
    ],
    [
      "goes to nobody with a disabled key",
      { ...FREE, status: "disabled" },
      null,
      SAME,
      { kind: "refuse", reason: "disabled" },
    ],
    [
      "goes to nobody with an expired key",
      { ...FREE, status: "expired" },
      null,
      SAME,
      { kind: "refuse", reason: "expired" },
    ],
    [
      "goes to nobody past the expiry of its key",
      { ...FREE, isExpired: true },
      null,
      SAME,
      { kind: "refuse", reason: "expired" },
    ],
    [
      "is refused past its expiry also to the connection that holds it",
      { ...FREE, isExpired: true },
      LIVE,
      SAME,
      { kind: "refuse", reason: "expired" },
    ],
    [
      "is refused as revoked, and not as expired, when it is both",
      { ...FREE, status: "revoked", isExpired: true },
      null,
      SAME,
      { kind: "refuse", reason: "revoked" },
    ],

    ["stays with the connection that has reserved it and asks again", FREE, RESERVED, SAME, { kind: "same" }],
    ["stays with the connection that is live and asks again", FREE, LIVE, SAME, { kind: "same" }],
    ["stays with the connection that came back, reserved it and asks again", FREE, RETURNING, SAME, { kind: "same" }],
    ["stays with the connection that is late to start and asks again", FREE, LAPSED, SAME, { kind: "same" }],
    ["is resumed by the same connection that publishes again", FREE, RECONNECTING, SAME, { kind: "resume" }],

    ["is refused to another connection while it is live", FREE, LIVE, OTHER, LIVE_ALREADY],
    ["is refused to another connection while it is reserved", FREE, RESERVED, OTHER, LIVE_ALREADY],
    ["is refused to another connection while the first encoder is coming back", FREE, RETURNING, OTHER, LIVE_ALREADY],
    ["is refused to the same connection id of another server", FREE, LIVE, ELSEWHERE, LIVE_ALREADY],
    ["is resumed by another connection when its reservation has lapsed", FREE, LAPSED, OTHER, { kind: "resume" }],
    ["is resumed by another connection while it waits for its encoder", FREE, RECONNECTING, OTHER, { kind: "resume" }],
    [
      "is resumed by another server's connection while it waits for its encoder",
      FREE,
      RECONNECTING,
      ELSEWHERE,
      { kind: "resume" },
    ],

    [
      "is resumed by any connection of its server after a restart of the server",
      FREE,
      LIVE,
      REBOOTED,
      { kind: "resume" },
    ],
    [
      "is resumed by any connection of its server after a restart, although it was reserved",
      FREE,
      RESERVED,
      REBOOTED,
      { kind: "resume" },
    ],
    ["is resumed by the same connection id where that means a new boot", FREE, LIVE, NGINX_AGAIN, { kind: "resume" }],
    [
      "is refused to another connection id where boots cannot be told apart",
      FREE,
      LIVE_IN_FIRST_BOOT,
      NGINX_OTHER,
      LIVE_ALREADY,
    ],
    [
      "is resumed by another connection id of a later boot, which other streams have shown",
      FREE,
      LIVE_IN_FIRST_BOOT,
      NGINX_LATER,
      { kind: "resume" },
    ],

    [
      "is taken over by another connection under the policy takeover",
      TAKEOVER,
      LIVE,
      OTHER,
      { kind: "oust", reason: "taken_over" },
    ],
    [
      "is taken over under the policy takeover although it is only reserved",
      TAKEOVER,
      RESERVED,
      OTHER,
      { kind: "oust", reason: "taken_over" },
    ],
    ["stays with its own connection that asks again, whatever the policy", TAKEOVER, LIVE, SAME, { kind: "same" }],
    [
      "is refused under the policy takeover when its server cannot drop the first connection",
      TAKEOVER,
      LIVE,
      { ...OTHER, mayOust: "other servers" },
      LIVE_ALREADY,
    ],
    [
      "is taken over by another server's connection although its own server cannot drop one",
      TAKEOVER,
      LIVE,
      { ...ELSEWHERE, mayOust: "other servers" },
      { kind: "oust", reason: "taken_over" },
    ],

    [
      "goes to the earlier of two connections that were admitted apart",
      FREE,
      LIVE,
      { ...OTHER, admittedAt: EARLIER },
      { kind: "oust", reason: "already_live" },
    ],
    [
      "goes to the earlier of two that were admitted apart, whatever the policy",
      TAKEOVER,
      LIVE,
      { ...OTHER, admittedAt: EARLIER, mayOust: "other servers" },
      { kind: "oust", reason: "already_live" },
    ],
    [
      "stays where it is when the earlier of two that were admitted apart is gone by now",
      FREE,
      LIVE,
      { ...OTHER, admittedAt: EARLIER, mayOust: "nobody" },
      LIVE_ALREADY,
    ],
    [
      "is refused to the later of two that were admitted apart",
      FREE,
      LIVE,
      { ...OTHER, admittedAt: LATER },
      LIVE_ALREADY,
    ],
    [
      "is refused to the later of two that were admitted apart, under takeover too",
      TAKEOVER,
      LIVE,
      { ...OTHER, admittedAt: LATER },
      LIVE_ALREADY,
    ],
    [
      "stays where it is when two were admitted at the same moment",
      FREE,
      LIVE,
      { ...OTHER, admittedAt: CLAIMED_AT },
      LIVE_ALREADY,
    ],
    [
      "is resumed by a connection that was admitted in an outage while it waits for its encoder",
      FREE,
      RECONNECTING,
      { ...OTHER, admittedAt: LATER },
      { kind: "resume" },
    ],
  ])("%s", (_, stream, active, claimant, decision) => {
    expect(decideClaim(stream, active, claimant)).toEqual(decision);
  });
});

it("refuses a key by its status, and by its expiry before the status says so", () => {
  for (const status of ["ready", "live", "reconnecting", "ended"] as const) {
    expect(refusalOf({ status, isExpired: false })).toBeNull();
    expect(refusalOf({ status, isExpired: true })).toBe("expired");
  }
});
