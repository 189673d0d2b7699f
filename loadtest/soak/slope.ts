export interface Slope {
  /** By least squares; NaN for fewer than two points. */
  value: number;
  /** In two cases of three the scatter of the points changes the value by less; NaN for fewer than three points. */
  standardError: number;
}

/** Fits a line. https://en.wikipedia.org/wiki/Simple_linear_regression#Normality_assumption */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): Slope {
  const n = points.length;
  const meanX = points.reduce((sum, [x]) => sum + x, 0) / n;
  const meanY = points.reduce((sum, [, y]) => sum + y, 0) / n;
  let [above, below] = [0, 0];
  for (const [x, y] of points) {
    above += (x - meanX) * (y - meanY);
    below += (x - meanX) ** 2;
  }
  if (below === 0) return { value: Number.NaN, standardError: Number.NaN };
  const value = above / below;
  const residue = points.reduce((sum, [x, y]) => sum + (y - meanY - value * (x - meanX)) ** 2, 0);
  return { value, standardError: n < 3 ? Number.NaN : Math.sqrt(residue / (n - 2) / below) };
}
