import type { Present, TopicTotals, Update } from "../../protocol/dashboard.ts";
import { type Entry, textOf, toLists } from "./backlog.ts";

/** The topic of a frame. */
interface Shown {
  readonly name: string;
  readonly nameAsJson: string;
  /** Changes may be missed now. */
  readonly isBehind: boolean;
}

/** What a frame says besides its entries, to a room or to a member that is served alone. */
interface Owed {
  viewersChanged: boolean;
  totals: TopicTotals | null;
  beginsAnew: boolean;
  owesBehind: boolean;
}

/** What a frame said besides its entries. */
export type Rest = Pick<Update, "viewers" | "totals" | "snapshot" | "behind">;

/** A frame as it goes out: JSON, made once for everybody who gets it. */
export interface Frame {
  readonly rest: Rest;
  readonly text: string;
}

const NOTHING: Rest = {};

/** Builds a frame; then nothing is owed any more. `viewers`: how many there are; null where the topic has none. */
export function toFrame(shown: Shown, owed: Owed, entries: readonly Entry[], viewers: number | null): Frame {
  const rest = settle(shown, owed, viewers);
  const end = rest === NOTHING ? "}" : `,${JSON.stringify(rest).slice(1)}`;
  const head = `{"topic":${shown.nameAsJson},"n":${nextNumber()},"at":"${timestamp()}"`;
  return { rest, text: `${head}${listsAsJson(entries)}${end}` };
}

/** The same as an object, for the answer to a subscription. */
export function toUpdate(shown: Shown, owed: Owed, entries: readonly Entry[], viewers: number | null): Update {
  const rest = settle(shown, owed, viewers);
  return { topic: shown.name, n: nextNumber(), at: timestamp(), ...toLists(entries), ...rest };
}

/** The last frame of a topic whose rows were all deleted: an empty snapshot. */
export function toLastFrame({ nameAsJson }: Pick<Shown, "nameAsJson">, rest: Rest): string {
  return `{"topic":${nameAsJson},"n":${nextNumber()},"at":"${timestamp()}",${JSON.stringify({ ...rest, snapshot: true }).slice(1)}`;
}

function settle(shown: Shown, owed: Owed, viewers: number | null): Rest {
  const saysViewers = owed.viewersChanged && viewers !== null;
  const saysBehind = owed.owesBehind || (owed.beginsAnew && shown.isBehind);
  owed.viewersChanged = false;
  if (!saysViewers && !saysBehind && owed.totals === null && !owed.beginsAnew) return NOTHING;
  const rest: Rest = {
    ...(saysViewers && { viewers }),
    ...(owed.totals !== null && { totals: owed.totals }),
    ...(owed.beginsAnew && { snapshot: true }),
    ...(saysBehind && { behind: shown.isBehind }),
  };
  owed.totals = null;
  owed.beginsAnew = false;
  owed.owesBehind = false;
  return rest;
}

let lastNumber = 0;

/** All frames of the process share one count: a frame may go out to many connections, and a topic may end and begin anew. */
function nextNumber(): number {
  lastNumber += 1;
  return lastNumber;
}

let [lastMs, lastTimestamp] = [0, ""];

/** Now in ISO 8601. The frames of one turn share it. */
function timestamp(): string {
  const now = Date.now();
  if (now !== lastMs) [lastMs, lastTimestamp] = [now, new Date(now).toISOString()];
  return lastTimestamp;
}

function listsAsJson(entries: readonly Entry[]): string {
  let text = "";
  // Nearly all frames have entries of one field or two: the entries are gone through once for each.
  for (let rest = entries; rest.length > 0; ) {
    const { field } = rest[0] as Entry;
    const others: Entry[] = [];
    let list = "";
    for (const entry of rest) {
      if (entry.field !== field) others.push(entry);
      else list += list === "" ? textOf(entry) : `,${textOf(entry)}`;
    }
    text += `,"${field}":[${list}]`;
    rest = others;
  }
  return text;
}

/** The rows of a snapshot as entries of a backlog. */
export function toSnapshotEntries(rows: Pick<Update, "progress" | "lessons" | "courses" | "streams">): Entry[] {
  return Object.entries(rows).flatMap(([field, values]) => values.map((value) => ({ field, value }) as Entry));
}

/** A viewer as an entry of a backlog. */
export function toEntry(present: Present): Entry {
  return { field: "present", value: present, seenAt: performance.now() - present.ageMs };
}
