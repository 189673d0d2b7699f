/*
 * Reads long lists page by page. `pg` parses a whole answer at once; between two pages the event loop does other work.
 */

/** Rows in a page. */
export const PAGE_ROWS = 500;
/** Lists of several pages that are read at a time: each takes memory until it is sent. */
const AT_ONCE = 2;

/**
 * Reads a list to its end. Lists of one page are read at once; of the longer ones a few at a time, in the order in which
 * they came.
 */
export class PageReader {
  readonly #waiting: (() => void)[] = [];
  #free = AT_ONCE;

  /** `readNext` reads the next `PAGE_ROWS` rows, fewer only at the end of the list. */
  async readAll<Row>(readNext: () => Promise<Row[]>): Promise<Row[]> {
    const rows = await readNext();
    if (rows.length < PAGE_ROWS) return rows;
    await this.#enter();
    try {
      for (let page = rows; page.length === PAGE_ROWS; ) {
        page = await readNext();
        for (const row of page) rows.push(row);
      }
      return rows;
    } finally {
      this.#leave();
    }
  }

  async #enter(): Promise<void> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
