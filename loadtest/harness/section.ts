/*
 * What a subcommand measured, as data: the terminal, the JSON, the plots and the page are made of it alone. A figure
 * that is not in a section is not reported.
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

/** A figure beside what it should be. */
export interface Aim {
  what: string;
  /** As it is read: "≥ 4 × soketi". */
  aim: string;
  seen: string;
  isMet: boolean;
  /** Where it is missed: what holds it back. */
  because?: string;
}

export interface Section {
  command: string;
  title: string;
  /** Markdown: what was done, how long, with how many, and what a figure means. A paragraph or two. */
  about: string;
  /** When it was measured, as `Date.toISOString` has it. */
  takenAt: string;
  /** Cores that processes took meanwhile which have nothing to do with the run; null where that is not known. */
  foreignCores: number | null;
  /** Flags left some of it out, for tuning: it is shown, and does not replace the whole on the page. */
  isPartial?: boolean;
  tables: Table[];
  plots: Plot[];
  aims: Aim[];
  /** Markdown, a line each: what went wrong, what was refused, what to know when reading the tables. */
  notes: string[];
}

/** What a subcommand is given. */
export interface Run {
  /** A look in a fraction of the time; its figures are rough, and say so. */
  isQuick: boolean;
  /** What the flags of this subcommand said, by their names without dashes. */
  flags: Readonly<Record<string, string | undefined>>;
  /** What is done now, and how far the subcommand has come, 0 to 1: the progress bar. */
  progress(what: string, share: number): void;
}

export interface Subcommand {
  name: string;
  /** One line for --help. */
  summary: string;
  /** Flags of its own: `--name VALUE`, and what it is for. */
  flags: Readonly<Record<string, string>>;
  /** The run is ended after so long, whatever it does; with all that it started. */
  limitSeconds: number;
  run(run: Run): Promise<Section>;
}
