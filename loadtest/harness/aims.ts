import { formatNumber } from "../render/format.ts";
import type { Aim } from "./section.ts";

/** A figure and its limit, before they are compared. */
export interface Judged {
  what: string;
  atMost?: number;
  atLeast?: number;
  /** Written after the limit and after the figure: " ms", " × the floor". */
  unit: string;
  /** Null or undefined: the run did not measure the figure, and the aim is left out. */
  value: number | null | undefined;
  /** Shown beside the figure. */
  beside?: string;
  /** A reason to miss the aim although the figure is within its limit: "3 were never shown". */
  failure?: string;
  /** If the aim is missed: one line about the cause, from the profile in report/profile.md. */
  because: string;
}

/** Compares the figures with their limits. */
export function judge(all: readonly Judged[]): Aim[] {
  return all.flatMap(({ what, atMost, atLeast, unit, value, beside, failure = "", because }): Aim[] => {
    if (value === null || value === undefined) return [];
    const limit = (atMost ?? atLeast ?? Number.NaN).toLocaleString("en-US");
    const isWithin = atMost === undefined ? value >= (atLeast ?? Number.NaN) : value <= atMost;
    const isMet = isWithin && failure === "";
    return [
      {
        what,
        aim: `${atMost === undefined ? "≥" : "≤"} ${limit}${unit}`,
        seen: [`${formatNumber(value)}${unit}`, beside, failure].filter(Boolean).join("; "),
        isMet,
        ...(isMet ? {} : { because }),
      },
    ];
  });
}
