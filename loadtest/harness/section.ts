/*
 * What a subcommand measured, as data. The terminal, the JSON, the plots and the page are made of a section alone: a
 * figure that is not in a section is not reported.
 */

/** A number is shown with as many digits as its size deserves; null as an empty cell. */
export type Cell = string | number | null;

export interface Table {
  title: string;
  columns: string[];
  rows: Cell[][];
}

export interface Plot {
  /** The file's name, without its ending; unique among all sections. */
  name: string;
  title: string;
  x: { label: string; isLog?: boolean };
  y: { label: string; isLog?: boolean };
  series: { label: string; points: [x: number, y: number][] }[];
}

/** A figure beside its limit. */
export interface Aim {
  what: string;
  /** As it is read: "≥ 8 × (a)". */
  aim: string;
  seen: string;
  isMet: boolean;
  /** Of an aim that is missed: what holds it back. */
  because?: string;
}

/** What a subcommand hands over; the run adds its name and the time. */
export interface Findings {
  title: string;
  /** Markdown, a paragraph or two: what was done, how long, with how many, and what a figure means. */
  about: string;
  /** Cores that were busy meanwhile with processes that the run did not start; null where that is not known. */
  foreignCores: number | null;
  /** Flags left some of it out, for tuning: the section is shown, and does not replace the whole on the page. */
  isPartial?: boolean;
  tables: Table[];
  plots: Plot[];
  aims: Aim[];
  /** Markdown, a line each: what went wrong, what was refused, what to know when reading the tables. */
  notes: string[];
}

export interface Section extends Findings {
  command: string;
  /** When it was measured, as `Date.toISOString` writes it. */
  takenAt: string;
}

/** Says what is done now, and how far the subcommand has come, 0 to 1. */
export type Tell = (what: string, share: number) => void;

/** What a subcommand is given. */
export interface Run {
  /** A look in a fraction of the time; its figures are rough, and say so. */
  isQuick: boolean;
  /** Values of this subcommand's flags, by their names without dashes. */
  flags: Readonly<Record<string, string | undefined>>;
  tell: Tell;
}

export interface Subcommand {
  name: string;
  /** One line for --help. */
  summary: string;
  /** Flags of its own: `--name VALUE`, and what it is for. */
  flags: Readonly<Record<string, string>>;
  /** The run is ended after so long, whatever it does; with all that it started. */
  limitSeconds: number;
  /** Null where it has printed its figures itself, for a tool that is no part of the report. */
  run(run: Run): Promise<Findings | null>;
}

/** The part of the progress bar from one share to another, as a bar of its own. */
export function within(tell: Tell, from: number, to: number): Tell {
  return (what, share) => tell(what, from + (to - from) * share);
}
