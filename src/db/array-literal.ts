/*
 * Writes arrays in PostgreSQL's text form, for statements that take thousands of values. `pg` writes the same text, but
 * examines the type of every value. https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
 */

/** An array of texts and nulls. */
export function toTextArray(values: readonly (string | null)[]): string {
  // Joined in the end: V8 keeps a string that grows by `+=` as a tree of its parts, and has to flatten this tree later.
  const parts: string[] = [];
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as string | null;
    parts.push(value === null ? "NULL" : quote(value));
  }
  return `{${parts.join(",")}}`;
}

/** An array of numbers or booleans and nulls: their text needs no quotes. */
export function toPlainArray(values: readonly (number | boolean | null)[]): string {
  let literal = "{";
  for (let i = 0; i < values.length; i++) literal += `${i > 0 ? "," : ""}${values[i] ?? "NULL"}`;
  return `${literal}}`;
}

function quote(text: string): string {
  if (!text.includes('"') && !text.includes("\\")) return `"${text}"`;
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}
