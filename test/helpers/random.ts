import { inject } from "vitest";
import type {} from "./provided.ts";

/*
 * Random choices that can be repeated. The global setup prints the seed of a run; the same seed in the environment
 * variable TEST_SEED makes the same choices again.
 */

export interface Random {
  /** A whole number from 0 to below `limit`. */
  below(limit: number): number;
  pick<T>(from: readonly T[]): T;
  /** True with probability `p`. */
  chance(p: number): boolean;
}

/** The generator Mulberry32: the same seed gives the same numbers. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (limit: number) => Math.floor(next() * limit);
  return {
    below,
    pick: <T>(from: readonly T[]): T => from[below(from.length)] as T,
    chance: (p) => next() < p,
  };
}

/** A generator with the seed of this run. Make one in each test, so that a test alone chooses as it did in the run. */
export function createRandomOfRun(): Random {
  return createRandom(inject("seed"));
}

/** The seed that TEST_SEED names, or else a new one. @throws Error where TEST_SEED is no whole number */
export function chooseSeed(): number {
  const given = process.env.TEST_SEED;
  if (given === undefined || given === "") return Math.floor(Math.random() * 2 ** 32);
  if (!/^\d+$/.test(given)) throw new Error(`TEST_SEED is ${JSON.stringify(given)}, not a whole number`);
  return Number(given);
}
