/*
 * PostgreSQL's text form of an array, for statements that take thousands of values at once: `pg` builds the same, but
 * looks anew at what every single value is. https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */

/** Texts, or null. */
export function toTextArray(values: readonly (string | null)[]): string {
  // Joined at once: a text that grows by every value is a tree of as many texts, which has to be flattened later.
  const parts: string[] = [];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as string | null;
    parts.push(value === null ? "NULL" : quote(value));
  }
  return `{${parts.join(",")}}`;
}

/** Values whose text needs no quoting: numbers and booleans. */
export function toPlainArray(values: readonly (number | boolean | null)[]): string {
  let literal = "{";
  for (let i = 0; i < values.length; i++) literal += `${i > 0 ? "," : ""}${values[i] ?? "NULL"}`;
  return `${literal}}`;
}

function quote(text: string): string {
  if (!text.includes('"') && !text.includes("\\")) return `"${text}"`;
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}
