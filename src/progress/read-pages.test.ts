import { describe, expect, it } from "vitest";
import { PAGE_ROWS, PageReader } from "./read-pages.ts";

/** A list of numbers, and how many lists of several pages were being read at most. */
function createLists() {
  let [reading, most] = [0, 0];
  const reader = new PageReader();
  return {
    most: () => most,
    read(length: number) {
      let from = 0;
      return reader.readAll(async () => {
        const isFirst = from === 0;
        if (!isFirst) most = Math.max(most, ++reading);
        await new Promise((resolve) => setImmediate(resolve));
        if (!isFirst) reading -= 1;
        const page = Array.from({ length: Math.min(PAGE_ROWS, length - from) }, (_, i) => from + i);
        from += page.length;
        return page;
      });
    },
  };
}

describe("a long list", () => {
  it.each([0, 1, PAGE_ROWS - 1, PAGE_ROWS, PAGE_ROWS + 1, 3 * PAGE_ROWS])(
    "of %s rows is read to its end",
    async (length) => {
      const rows = await createLists().read(length);
      expect(rows).toEqual(Array.from({ length }, (_, i) => i));
    },
  );

  it("waits for others of several pages: only two are read at a time", async () => {
    const lists = createLists();
    const lengths = await Promise.all(Array.from({ length: 10 }, async () => (await lists.read(4 * PAGE_ROWS)).length));
    expect(new Set(lengths)).toEqual(new Set([4 * PAGE_ROWS]));
    expect(lists.most()).toBe(2);
  });

  it("that fails lets the next one be read", async () => {
    const reader = new PageReader();
    const full = Array.from({ length: PAGE_ROWS }, (_, i) => i);
    const read = (...pages: (number[] | null)[]) =>
      reader.readAll(async () => {
        const page = pages.shift();
        if (page == null) throw new Error("the database is away");
        return page;
      });
    for (let i = 0; i < 5; i++) await expect(read(full, null)).rejects.toThrow("away");
    expect(await read(full, [1])).toHaveLength(PAGE_ROWS + 1);
  });
});
