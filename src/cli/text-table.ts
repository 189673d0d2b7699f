/** Characters that are not text for a terminal or a reader: control, format and private characters, line separators. */
const NOT_TEXT = /[\p{C}\p{Zl}\p{Zp}]/gu;
/** Titles may be 500 characters long. */
const MAX_CELL_CHARACTERS = 48;

/** Text from outside, made safe for a terminal: it can neither move the cursor nor break a line. */
export function toPlainText(text: string): string {
  return text.replace(NOT_TEXT, "\u{fffd}");
}

/** Prints rows under their headings, as lines. Every column is as wide as its widest cell. */
export function toTable(headings: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const lines = [headings, ...rows.map((row) => row.map(toCell))];
  const widths = headings.map((_, column) => Math.max(...lines.map((line) => lengthOf(line[column] ?? ""))));
  return lines.map((line) =>
    line
      .map((cell, column) => cell + " ".repeat((widths[column] ?? 0) - lengthOf(cell)))
      .join("  ")
      .trimEnd(),
  );
}

function toCell(text: string): string {
  const characters = [...toPlainText(text)];
  if (characters.length <= MAX_CELL_CHARACTERS) return characters.join("");
  return `${characters.slice(0, MAX_CELL_CHARACTERS - 1).join("")}…`;
}

function lengthOf(text: string): number {
  return [...text].length;
}
