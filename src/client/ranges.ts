/** A half-open range of the media, `[from, to)`, in whole milliseconds. */
export type Range = readonly [from: number, to: number];

/** The union: sorted, disjoint, touching ranges joined. Gaps stay, however small: what was not played is not claimed. */
export function unionRanges(...lists: (readonly Range[])[]): Range[] {
  const sorted = lists
    .flat()
    .filter(([from, to]) => to > from)
    .sort((a, b) => a[0] - b[0]);
  const union: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = union.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else union.push([from, to]);
  }
  return union;
}

/** Whether some part is in both; touching is not overlapping. Both lists as `unionRanges` leaves them. */
export function isOverlapping(a: readonly Range[], b: readonly Range[]): boolean {
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const [fromA, toA] = a[i] as Range;
    const [fromB, toB] = b[j] as Range;
    if (Math.max(fromA, fromB) < Math.min(toA, toB)) return true;
    if (toA < toB) i++;
    else j++;
  }
  return false;
}

/** The sum of the lengths, in milliseconds, of disjoint ranges. */
export function lengthMs(ranges: readonly Range[]): number {
  return ranges.reduce((sum, [from, to]) => sum + to - from, 0);
}
