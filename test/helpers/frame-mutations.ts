import type { Random } from "./random.ts";
import type { Namespace } from "./socket-client.ts";

/*
 * Frames with random mistakes, to try what a server does with them.
 */

const BEAT = {
  fileId: "f1",
  position: 1,
  played: [[0, 1]],
  state: "playing",
  rate: 1,
  ageMs: 0,
  sessionId: "s",
  seq: 1,
  epoch: 0,
};
const CALLS: Record<Namespace, unknown[][]> = {
  "/player": [
    ["heartbeat", BEAT],
    ["heartbeats", { beats: [BEAT, BEAT] }],
    ["progress:get", { fileId: "f1" }],
    ["progress:get", { courseId: "c1" }],
    ["progress:reset", { fileId: "f1" }],
    ["token:refresh", { token: "x.y.z" }],
  ],
  "/dashboard": [
    ["subscribe", { topic: "course:c1" }],
    ["subscribe", { topic: "course:c1/user:fuzzer" }],
    ["subscribe", { topic: "user:fuzzer" }],
    ["unsubscribe", { topic: "course:c1" }],
    ["token:refresh", { token: "x.y.z" }],
  ],
};
const VALUES: unknown[] = [
  null,
  true,
  0,
  -0,
  -1,
  1e308,
  2 ** 31,
  2 ** 53,
  0.1,
  "",
  "f1",
  "\u0000",
  "\ud800",
  "__proto__",
  "constructor",
  "toString",
  "x".repeat(5000),
  [],
  [[]],
  [[1, 0]],
  {},
  { toString: 1 },
  { __proto__: null, polluted: true },
  { length: 1e9 },
  { _placeholder: true, num: 0 },
  { _placeholder: true, num: "splice" },
  { _placeholder: true, num: 99 },
  Array.from({ length: 1000 }, () => [0, 1]),
  { toJSON: 1 },
  { type: "Buffer", data: [1, 2] },
];
const TOKENS = [
  "NaN",
  "Infinity",
  "1e999",
  "-",
  "\u001e",
  "\u0000",
  "\\ud800",
  '"',
  "[",
  "]",
  "{",
  "}",
  ",",
  ":",
  "[".repeat(3000),
  "/",
  "?",
  "%00",
  '{"__proto__":{"polluted":1}}',
  '"constructor":{"prototype":{"polluted":1}}',
  "0".repeat(400),
  "-1",
  "99999999999999999999",
  "51-",
  "\u{1f600}",
];

/** Replaces, adds or removes a part of a value, at a random depth. */
function mutateValue(random: Random, value: unknown): unknown {
  if (random.chance(0.3) || typeof value !== "object" || value === null) return random.pick(VALUES);
  if (Array.isArray(value)) {
    const copy = [...value];
    const at = random.below(copy.length + 1);
    const how = random.below(3);
    if (how === 0) copy.splice(at, 1);
    else if (how === 1) copy.splice(at, 0, random.pick(VALUES));
    else copy[at] = mutateValue(random, copy[at]);
    return copy;
  }
  const copy: Record<string, unknown> = { ...value };
  const key = random.chance(0.8)
    ? random.pick(Object.keys(copy))
    : String(random.pick(VALUES.filter((one) => typeof one === "string")));
  if (random.chance(0.2)) delete copy[key];
  else copy[key ?? "x"] = mutateValue(random, copy[key ?? "x"]);
  return copy;
}

/** Changes some characters of a text. */
function mutateText(random: Random, text: string): string {
  const at = random.below(text.length + 1);
  const to = at + random.below(8);
  switch (random.below(5)) {
    case 0:
      return text.slice(0, at) + text.slice(to);
    case 1:
      return text.slice(0, at) + random.pick(TOKENS) + text.slice(at);
    case 2:
      return (
        text.slice(0, at) + String.fromCharCode(random.below(random.chance(0.8) ? 128 : 65_536)) + text.slice(at + 1)
      );
    case 3:
      return text.slice(0, to) + text.slice(at, to).repeat(random.below(50)) + text.slice(to);
    default:
      return random.pick(["0", "1", "2", "3", "4", "5", "6", "7", "b", ""]) + text.slice(1);
  }
}

/** Makes a frame of a call to the namespace, with mistakes in its payload, its JSON or its packet. */
export function makeFrame(random: Random, namespace: Namespace): string | Uint8Array {
  const prefix = random.chance(0.97)
    ? `42${namespace},`
    : random.pick(["42", "43/player,", "44/player,", "41/x,", "40/nowhere,", "45/player,", "40/", "2", "6", "5"]);
  const id = random.chance(0.97) ? String(random.below(1000)) : random.pick(["", "-1", "1e9", "99999999999999999999"]);
  const call = random.pick(CALLS[namespace]);
  const mutated = random.chance(0.9) ? [call[0], mutateValue(random, call[1])] : mutateValue(random, call);
  let text = `${prefix}${id}${JSON.stringify(mutated)}`;
  for (let i = random.chance(0.1) ? 1 + random.below(3) : 0; i > 0; i--) text = mutateText(random, text);
  if (random.chance(0.01)) return Uint8Array.from({ length: random.below(200) }, () => random.below(256));
  if (random.chance(0.01)) return Buffer.from(text);
  return text.length > 70_000 && random.chance(0.9) ? text.slice(0, 60_000) : text;
}
