/*
 * A section holds all figures of a subcommand, as data. The terminal, the JSON, the plots and the page are made from it,
 * and from nothing else.
 */

/** `formatNumber` decides the digits of a number; null is an empty cell. */
export type Cell = string | number | null;

export interface Table {
  title: string;
  columns: string[];
  rows: Cell[][];
}

export interface Plot {
  /** The name of the file without its ending; unique among all sections. */
  name: string;
  title: string;
  x: { label: string; isLog?: boolean };
  y: { label: string; isLog?: boolean };
  series: { label: string; points: [x: number, y: number][] }[];
}

/** A figure beside its limit. */
export interface Aim {
  what: string;
  /** The limit: "≥ 8 × (a)". */
  aim: string;
  seen: string;
  isMet: boolean;
  /** If the aim is missed: the cause. */
  because?: string;
}

/** A section without the name of its subcommand and its time, which main.ts adds. */
export interface Findings {
  title: string;
  /** One or two paragraphs of Markdown: the load, its length and size, and the meaning of the figures. */
  about: string;
  /** Cores that other processes used during the windows; null if unknown. */
  foreignCores: number | null;
  /** A flag left out some figures: the section is printed, and does not replace the full one on the page. */
  isPartial?: boolean;
  tables: Table[];
  plots: Plot[];
  aims: Aim[];
  /** Lines of Markdown: failures, refusals, and hints for the tables. */
  notes: string[];
}

export interface Section extends Findings {
  command: string;
  /** The end of the run, in ISO 8601. */
  takenAt: string;
}

/** Shows the current step, and the share of the run that is done, 0 to 1. */
export type Tell = (what: string, share: number) => void;

/** The arguments of a subcommand. */
export interface Run {
  /** A short run with rough figures. */
  isQuick: boolean;
  /** Values of the subcommand's own flags, by name without dashes. */
  flags: Readonly<Record<string, string | undefined>>;
  tell: Tell;
}

export interface Subcommand {
  name: string;
  /** One line for `--help`. */
  summary: string;
  /** The subcommand's own flags: `--name VALUE`, and the text for `--help`. */
  flags: Readonly<Record<string, string>>;
  /** The run is stopped after this time. */
  limitSeconds: number;
  /** Null: the subcommand is a tool that printed its figures itself, and has no section. */
  run(run: Run): Promise<Findings | null>;
}

/** A `Tell` whose 0 to 1 is the stretch from `from` to `to` of another. */
export function within(tell: Tell, from: number, to: number): Tell {
  return (what, share) => tell(what, from + (to - from) * share);
}
