import { formatNumber } from "../render/format.ts";
import type { Aim } from "./section.ts";

/** A figure, and the limit that it is held to. */
export interface Judged {
  what: string;
  atMost?: number;
  atLeast?: number;
  /** Stands after limit and figure: " ms", " × the floor". */
  unit: string;
  /** Null leaves the aim out: the figure was not measured. */
  value: number | null | undefined;
  /** Shown beside the figure. */
  beside?: string;
  /** Why the aim is missed whatever the figure is, such as "3 were never shown"; empty where it is not. */
  failure?: string;
  /** One line for an aim that is missed, from the profile in report/profile.md: what holds it back. */
  because: string;
}

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
