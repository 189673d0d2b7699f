/*
 * Writes arrays of numbers in PostgreSQL's binary form, for statements that take thousands of values: neither side
 * writes or reads digits. `pg` sends a Buffer as a binary parameter; the parameter must have exactly the type named
 * here. Header: number of dimensions, whether there are nulls, type of the elements, number of elements, lower bound.
 * Then for each element its length (-1 for null) and its value.
 */

const HEADER_OCTETS = 20;
const NULL_LENGTH = -1;
const WORD = 2 ** 32;

interface ElementType {
  oid: number;
  octets: number;
  write(buffer: Buffer, value: number, at: number): void;
}

const INT4: ElementType = { oid: 23, octets: 4, write: (buffer, value, at) => buffer.writeInt32BE(value, at) };
const INT8: ElementType = {
  oid: 20,
  octets: 8,
  write(buffer, value, at) {
    buffer.writeInt32BE(Math.floor(value / WORD), at);
    buffer.writeUInt32BE(value >>> 0, at + 4);
  },
};
const FLOAT8: ElementType = { oid: 701, octets: 8, write: (buffer, value, at) => buffer.writeDoubleBE(value, at) };

/** A parameter of type `int4[]`. @throws RangeError for a value that is no whole number of 32 bits */
export function toInt4Array<T>(items: readonly T[], pick: (item: T) => number | null): Buffer {
  return toArray(INT4, items, (item) => whole(pick(item)));
}

/** A parameter of type `int8[]`. @throws RangeError for a value that is no whole number of 64 bits */
export function toInt8Array<T>(items: readonly T[], pick: (item: T) => number | null): Buffer {
  return toArray(INT8, items, (item) => whole(pick(item)));
}

/** A parameter of type `float8[]`. */
export function toFloat8Array<T>(items: readonly T[], pick: (item: T) => number | null): Buffer {
  return toArray(FLOAT8, items, pick);
}

function whole(value: number | null): number | null {
  if (value === null || Number.isInteger(value)) return value;
  throw new RangeError(`An array of whole numbers got ${value}`);
}

function toArray<T>(type: ElementType, items: readonly T[], pick: (item: T) => number | null): Buffer {
  if (items.length === 0) return toHeader(Buffer.allocUnsafe(12), { dimensions: 0, oid: type.oid });
  const buffer = Buffer.allocUnsafe(HEADER_OCTETS + items.length * (4 + type.octets));
  toHeader(buffer, { dimensions: 1, oid: type.oid });
  buffer.writeInt32BE(items.length, 12);
  buffer.writeInt32BE(1, 16);
  let at = HEADER_OCTETS;
  for (let i = 0; i < items.length; i++) {
    const value = pick(items[i] as T);
    if (value === null) {
      buffer.writeInt32BE(1, 4);
      at = buffer.writeInt32BE(NULL_LENGTH, at);
      continue;
    }
    at = buffer.writeInt32BE(type.octets, at);
    type.write(buffer, value, at);
    at += type.octets;
  }
  return buffer.subarray(0, at);
}

function toHeader(buffer: Buffer, { dimensions, oid }: { dimensions: number; oid: number }): Buffer {
  buffer.writeInt32BE(dimensions, 0);
  buffer.writeInt32BE(0, 4);
  buffer.writeInt32BE(oid, 8);
  return buffer;
}
