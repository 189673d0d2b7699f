/*
 * JSON of a long value, made in slices: between two slices the event loop does other work. JSON.stringify would hold it up
 * for as long as the whole value takes.
 */

/** A list of more entries makes its value long. */
const LONG = 500;
/** How many entries of a list become JSON at once. */
const SLICE = 200;
/** Lists are looked for so deep in a value. */
const DEPTH = 2;

/** A value as JSON, made before. */
export class ReadyJson {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** Whether the value, or a value in it, is a list that is long. */
export function isLong(value: unknown, depth = DEPTH): boolean {
  if (Array.isArray(value)) return value.length > LONG;
  if (depth === 0 || typeof value !== "object" || value === null) return false;
  return Object.values(value).some((part) => isLong(part, depth - 1));
}

/** Turns a value of plain objects and lists into JSON, in slices. Joined, they are what JSON.stringify returns. */
export async function toJsonSlices(value: object): Promise<string[]> {
  const slices: string[] = [];
  await write(value, DEPTH, slices);
  return slices;
}

async function write(value: unknown, depth: number, slices: string[]): Promise<void> {
  if (!isLong(value, depth)) slices.push(JSON.stringify(value));
  else if (Array.isArray(value)) await writeList(value, slices);
  else await writeObject(value as object, depth, slices);
}

async function writeList(list: readonly unknown[], slices: string[]): Promise<void> {
  slices.push("[");
  for (let from = 0; from < list.length; from += SLICE) {
    const text = JSON.stringify(list.slice(from, from + SLICE)).slice(1, -1);
    slices.push(from === 0 ? text : `,${text}`);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  slices.push("]");
}

async function writeObject(object: object, depth: number, slices: string[]): Promise<void> {
  let separator = "{";
  for (const [name, part] of Object.entries(object)) {
    if (part === undefined) continue;
    slices.push(`${separator}${JSON.stringify(name)}:`);
    separator = ",";
    await write(part, depth - 1, slices);
  }
  slices.push("}");
}
