import { describe, expect, it } from "vitest";
import type { Range } from "../protocol/ranges.ts";
import {
  ALLOWANCE_RATE,
  FIRST_ALLOWANCE_MS,
  type LoadLastContacts,
  RANGE_COST_MS,
  type StoredContact,
  WatchBudget,
} from "./watch-budget.ts";

const HOUR_MS = 3_600_000;

/** A user whose last beat came so many ms ago, and who has spent all that it was allowed before. */
function toContact(contact: number | StoredContact): StoredContact {
  if (typeof contact !== "number") return contact;
  return {
    agoMs: contact,
    firstAgoMs: contact,
    spentMs: FIRST_ALLOWANCE_MS + ALLOWANCE_RATE * Math.max(0, contact),
  };
}

function setUp(lastContacts: Record<string, number | StoredContact> = {}) {
  const queries: string[][] = [];
  const clock = { ms: 1_000_000 };
  const failures: Error[] = [];
  const loadLastContacts: LoadLastContacts = async (userIds) => {
    queries.push(userIds);
    const failure = failures.shift();
    if (failure !== undefined) throw failure;
    return new Map(Object.entries(lastContacts).map(([userId, contact]) => [userId, toContact(contact)]));
  };
  const budget = new WatchBudget({ loadLastContacts, now: () => clock.ms });
  return { budget, clock, queries, failures };
}

/** One range that costs exactly so much. */
function worth(costMs: number): Range[] {
  return [[0, costMs - RANGE_COST_MS]];
}

describe("WatchBudget", () => {
  it("allows ten seconds at first contact, and cuts the rest", async () => {
    const { budget } = setUp();
    await budget.contact("ann");
    const charge = budget.charge("ann", [[5000, 25_000]]);
    const affordable = FIRST_ALLOWANCE_MS - RANGE_COST_MS;
    expect(charge).toEqual({
      played: [[5000, 5000 + affordable]],
      cutMs: 20_000 - affordable,
      chargedMs: FIRST_ALLOWANCE_MS,
    });
    expect(budget.charge("ann", [[0, 1]])).toEqual({ played: [], cutMs: 1, chargedMs: 0 });
  });

  it("lets the allowance grow four times as fast as the clock", async () => {
    const { budget, clock } = setUp();
    await budget.contact("ann");
    budget.charge("ann", worth(FIRST_ALLOWANCE_MS));
    clock.ms += 3000;
    const earned = ALLOWANCE_RATE * 3000;
    expect(budget.charge("ann", worth(earned)).cutMs).toBe(0);
    expect(budget.charge("ann", [[0, 1000]]).cutMs).toBe(1000);
  });

  it("counts from the last contact in the database, so that an hour offline can be uploaded", async () => {
    const { budget } = setUp({ ann: HOUR_MS, bob: 500 });
    await Promise.all([budget.contact("ann"), budget.contact("bob")]);
    expect(budget.charge("ann", [[0, HOUR_MS]]).cutMs).toBe(0);
    expect(budget.charge("bob", worth(ALLOWANCE_RATE * 500)).cutMs).toBe(0);
    expect(budget.charge("bob", [[0, 10]]).cutMs).toBe(10);
  });

  it("allows nothing for a last contact in the future", async () => {
    const { budget } = setUp({ ann: -5000 });
    await budget.contact("ann");
    expect(budget.charge("ann", [[0, 700]])).toEqual({ played: [], cutMs: 700, chargedMs: 0 });
  });

  it("charges more than the length of a range, so that many tiny ranges are not free", async () => {
    const { budget } = setUp();
    await budget.contact("ann");
    const tiny = Array.from({ length: 100 }, (_, i): Range => [i * 1000, i * 1000 + 1]);
    const { played, cutMs, chargedMs } = budget.charge("ann", tiny);
    const affordable = Math.floor(FIRST_ALLOWANCE_MS / (RANGE_COST_MS + 1));
    expect(played).toEqual(tiny.slice(0, affordable));
    expect(cutMs).toBe(100 - affordable);
    expect(chargedMs).toBe(affordable * (RANGE_COST_MS + 1));
  });

  it("cuts only the overflow, within a range if it ends there", async () => {
    const { budget } = setUp();
    await budget.contact("ann");
    const { played, cutMs } = budget.charge("ann", [
      [0, 4000],
      [10_000, 14_000],
      [20_000, 24_000],
    ]);
    const left = FIRST_ALLOWANCE_MS - 8000 - 3 * RANGE_COST_MS;
    expect(played).toEqual([
      [0, 4000],
      [10_000, 14_000],
      [20_000, 20_000 + left],
    ]);
    expect(cutMs).toBe(4000 - left);
  });

  it("gives back the charge of a heartbeat that was not written", async () => {
    const { budget } = setUp();
    await budget.contact("ann");
    const { chargedMs } = budget.charge("ann", worth(FIRST_ALLOWANCE_MS));
    budget.refund("ann", chargedMs);
    expect(budget.charge("ann", worth(FIRST_ALLOWANCE_MS)).cutMs).toBe(0);
    budget.refund("nobody", 1000);
    expect(budget.knows("nobody")).toBe(false);
  });

  it("keeps one allowance for a user, whatever the number of contacts", async () => {
    const { budget, queries } = setUp();
    await Promise.all([budget.contact("ann"), budget.contact("ann")]);
    budget.charge("ann", worth(FIRST_ALLOWANCE_MS));
    await budget.contact("ann");
    expect(budget.charge("ann", [[0, 500]]).cutMs).toBe(500);
    await budget.contact("bob");
    expect(budget.charge("bob", worth(FIRST_ALLOWANCE_MS)).cutMs).toBe(0);
    expect(queries).toEqual([["ann"], ["bob"]]);
  });

  it("asks the database once for a thousand users who connect together", async () => {
    const { budget, queries } = setUp();
    const users = Array.from({ length: 1000 }, (_, i) => `user-${i}`);
    await Promise.all([...users, ...users].map((user) => budget.contact(user)));
    expect(queries).toEqual([users]);
    expect(users.every((user) => budget.knows(user))).toBe(true);
  });

  it("fails a contact when the database fails, and asks again at the next contact", async () => {
    const { budget, failures, queries } = setUp();
    failures.push(new Error("away"));
    const [ann, bob] = await Promise.allSettled([budget.contact("ann"), budget.contact("bob")]);
    expect([ann.status, bob.status, budget.knows("ann")]).toEqual(["rejected", "rejected", false]);
    await budget.contact("ann");
    expect(budget.knows("ann")).toBe(true);
    expect(queries).toEqual([["ann", "bob"], ["ann"]]);
  });

  it("counts from the first contact, even if the database could not be asked then", async () => {
    const { budget, clock, failures } = setUp();
    failures.push(new Error("away"), new Error("away"));
    await expect(budget.contact("ann")).rejects.toThrow("away");
    clock.ms += 60_000;
    await expect(budget.contact("ann")).rejects.toThrow("away");
    clock.ms += 60_000;
    await budget.contact("ann");
    expect(budget.charge("ann", worth(FIRST_ALLOWANCE_MS + ALLOWANCE_RATE * 120_000)).cutMs).toBe(0);
    expect(budget.charge("ann", [[0, 500]]).cutMs).toBe(500);
  });

  it("gives a process that starts anew what the user has left, while another of the user's devices plays on", async () => {
    const { budget } = setUp({ ann: { agoMs: 500, firstAgoMs: 40_000, spentMs: 40_000 } });
    await budget.contact("ann");
    const leftMs = FIRST_ALLOWANCE_MS + ALLOWANCE_RATE * 40_000 - 40_000;
    expect(budget.charge("ann", worth(leftMs)).cutMs).toBe(0);
    expect(budget.charge("ann", [[0, 500]]).cutMs).toBe(500);
  });

  it("counts for every user how much was cut", async () => {
    const { budget } = setUp();
    await budget.contact("ann");
    budget.charge("ann", worth(FIRST_ALLOWANCE_MS));
    budget.charge("ann", [[0, 500]]);
    budget.charge("ann", [[0, 700]]);
    expect(budget.cutsOf("ann")).toEqual({ cutMs: 1200, beats: 2 });
    expect(budget.cutsOf("bob")).toEqual({ cutMs: 0, beats: 0 });
  });

  it("forgets users who were silent for long, and asks the database for them again", async () => {
    const { budget, clock, queries } = setUp({ ann: HOUR_MS });
    await budget.contact("ann");
    clock.ms += HOUR_MS;
    await budget.contact("bob");
    budget.charge("bob", []);
    expect([budget.knows("ann"), budget.knows("bob")]).toEqual([false, true]);
    await budget.contact("ann");
    expect(queries).toEqual([["ann"], ["bob"], ["ann"]]);
  });
});
