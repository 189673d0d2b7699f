import { GatheredLoads } from "../db/gathered-loads.ts";
import { MAX_AGE_MS } from "../protocol/heartbeat.ts";
import { keepFirst, lengthOf, type Range } from "../protocol/ranges.ts";
import { RecentMap } from "./recent-map.ts";

/*
 * Limits how much watching a user may claim: 10 s at first contact, and four times the time that passed since the last
 * contact. So an hour offline can be uploaded, and an hour that did not pass cannot. All connections of a user share one
 * allowance. A process that does not hold it reads the user's contacts from the database, and gives what is left of all
 * the time since the first of them: a device that is offline keeps its share while another device plays, also when the
 * process restarts. A first contact that the database could not tell of, because it was away, is remembered here.
 */

export const FIRST_ALLOWANCE_MS = 10_000;
export const ALLOWANCE_RATE = 4;
/** Every range costs so much besides its length, so that a thousand tiny ranges are not free. */
export const RANGE_COST_MS = 250;
/** An allowance that was not used for so long is forgotten; the database remembers the last write. */
const FORGET_AFTER_MS = 15 * 60_000;

/** No device may claim what it played earlier: the largest `ageMs` of a beat. */
const OLDEST_CLAIM_MS = MAX_AGE_MS;
/** For so many users it is remembered how much was cut. */
const MAX_CUT_USERS = 10_000;
/** So many users whose contact could not be read are remembered. */
const MAX_WAITING = 100_000;

/** What the database knows of a user's heartbeats, in ms. */
export interface StoredContact {
  /** How long ago the last one was written. */
  agoMs: number;
  /** How long ago the first one was written. */
  firstAgoMs: number;
  /** The time that all of them earned. */
  spentMs: number;
}

/** Users without progress are absent. */
export type LoadLastContacts = (userIds: string[]) => Promise<Map<string, StoredContact>>;

interface Allowance {
  leftMs: number;
  at: number;
}

export interface Charge {
  /** The ranges that may be credited. */
  played: readonly Range[];
  cutMs: number;
  chargedMs: number;
}

/** How much was cut from a user's beats, and from how many of them. */
export type BudgetCuts = {
  cutMs: number;
  beats: number;
};

export interface WatchBudgetParts {
  loadLastContacts: LoadLastContacts;
  now?: () => number;
}

export class WatchBudget {
  readonly #loadLastContacts: LoadLastContacts;
  readonly #now: () => number;
  readonly #allowances = new Map<string, Allowance>();
  /** When users were first seen whose contacts could not be read yet. */
  readonly #waitingSince = new RecentMap<string, number>(MAX_WAITING);
  readonly #cuts = new RecentMap<string, BudgetCuts>(MAX_CUT_USERS);
  readonly #loading = new Map<string, Promise<void>>();
  readonly #loads = new GatheredLoads((userIds) => this.#loadAll(userIds));
  #nextSweepAt: number;

  constructor(parts: WatchBudgetParts) {
    this.#loadLastContacts = parts.loadLastContacts;
    this.#now = parts.now ?? (() => performance.now());
    this.#nextSweepAt = this.#now() + FORGET_AFTER_MS;
  }

  /** Whether `charge` may be called. If not, call `contact` first. */
  knows(userId: string): boolean {
    return this.#allowances.has(userId);
  }

  /**
   * Loads the user's allowance. A new connection is a contact, so that its first heartbeat finds an allowance.
   * @throws what the database throws
   */
  async contact(userId: string): Promise<void> {
    if (this.#allowances.has(userId)) return;
    if (this.#waitingSince.get(userId) === undefined) this.#waitingSince.set(userId, this.#now());
    let loading = this.#loading.get(userId);
    if (loading === undefined) {
      loading = this.#loads.load(userId);
      this.#loading.set(userId, loading);
    }
    await loading;
  }

  async #loadAll(userIds: string[]): Promise<void> {
    try {
      const contacts = await this.#loadLastContacts(userIds);
      const now = this.#now();
      for (const userId of userIds) {
        const waitedMs = now - (this.#waitingSince.get(userId) ?? now);
        this.#waitingSince.delete(userId);
        this.#allowances.set(userId, { leftMs: allowanceOf(contacts.get(userId), waitedMs), at: now });
      }
    } finally {
      for (const userId of userIds) this.#loading.delete(userId);
    }
  }

  /** Charges the claimed ranges, and cuts them to the allowance. Call `contact` first. */
  charge(userId: string, played: readonly Range[]): Charge {
    const now = this.#now();
    if (now >= this.#nextSweepAt) this.#sweep(now);
    const allowance = this.#allowances.get(userId) ?? { leftMs: FIRST_ALLOWANCE_MS, at: now };
    this.#allowances.set(userId, allowance);
    allowance.leftMs += ALLOWANCE_RATE * (now - allowance.at);
    allowance.at = now;
    const claimedMs = lengthOf(played);
    const costMs = claimedMs + RANGE_COST_MS * played.length;
    if (costMs <= allowance.leftMs) {
      allowance.leftMs -= costMs;
      return { played, cutMs: 0, chargedMs: costMs };
    }
    const kept = this.#affordable(played, allowance.leftMs);
    const keptMs = lengthOf(kept);
    const chargedMs = keptMs + RANGE_COST_MS * kept.length;
    allowance.leftMs -= chargedMs;
    const cutMs = claimedMs - keptMs;
    const cuts = this.cutsOf(userId);
    if (cutMs > 0) this.#cuts.set(userId, { cutMs: cuts.cutMs + cutMs, beats: cuts.beats + 1 });
    return { played: kept, cutMs, chargedMs };
  }

  /** What this process has cut from the user's beats since it started. */
  cutsOf(userId: string): BudgetCuts {
    return this.#cuts.get(userId) ?? { cutMs: 0, beats: 0 };
  }

  /** These users were deleted. */
  forgetUsers(isForgotten: (userId: string) => boolean): void {
    for (const userId of this.#allowances.keys()) if (isForgotten(userId)) this.#allowances.delete(userId);
    this.#waitingSince.deleteWhere(isForgotten);
    this.#cuts.deleteWhere(isForgotten);
  }

  #affordable(played: readonly Range[], leftMs: number): Range[] {
    const kept: Range[] = [];
    let left = leftMs;
    for (const range of played) {
      left -= RANGE_COST_MS;
      const [part] = keepFirst([range], left);
      if (part === undefined) break;
      kept.push(part);
      left -= part[1] - part[0];
    }
    return kept;
  }

  /** Gives back the charge of a heartbeat that was not written: the player will claim it again. */
  refund(userId: string, chargedMs: number): void {
    const allowance = this.#allowances.get(userId);
    if (allowance !== undefined) allowance.leftMs += chargedMs;
  }

  #sweep(now: number): void {
    this.#nextSweepAt = now + FORGET_AFTER_MS;
    for (const [userId, allowance] of this.#allowances) {
      if (now - allowance.at > FORGET_AFTER_MS) this.#allowances.delete(userId);
    }
  }
}

/** @param waitedMs how long ago the process first saw the user */
function allowanceOf(contact: StoredContact | undefined, waitedMs: number): number {
  if (contact === undefined) return FIRST_ALLOWANCE_MS + ALLOWANCE_RATE * waitedMs;
  const sinceLastMs = Math.max(0, contact.agoMs, waitedMs);
  const sinceFirstMs = Math.min(OLDEST_CLAIM_MS, Math.max(0, contact.firstAgoMs));
  const unspentMs = FIRST_ALLOWANCE_MS + ALLOWANCE_RATE * sinceFirstMs - contact.spentMs;
  return Math.max(ALLOWANCE_RATE * sinceLastMs, unspentMs);
}
