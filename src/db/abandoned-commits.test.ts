import type pg from "pg";
import { expect, it } from "vitest";
import { AbandonedCommits, StandbyAway } from "./abandoned-commits.ts";
import { isTransient } from "./sqlstate.ts";

/** A connection whose server still runs these backends. `asked`: the backends that it was asked for. */
function connectionTo(waiting: number[]) {
  const asked: unknown[] = [];
  const client = {
    async query(_text: string, [pids]: [number[]]) {
      asked.push(pids);
      return { rows: waiting.filter((pid) => pids.includes(pid)).map((pid) => ({ pid })) };
    },
  };
  return { asked, client: client as unknown as pg.ClientBase };
}

it("holds others back until the last abandoned commit has ended, and asks nothing where none was abandoned", async () => {
  const abandoned = new AbandonedCommits();
  const first = connectionTo([7, 8]);
  await abandoned.assertNone(first.client);
  expect(first.asked).toEqual([]);
  for (const processID of [7, 8, 9, null]) abandoned.abandon({ processID } as unknown as pg.ClientBase);

  const failure = await abandoned.assertNone(first.client).catch((error: unknown) => error);
  expect([failure, isTransient(failure)]).toEqual([expect.any(StandbyAway), true]);
  expect(first.asked).toEqual([[7, 8, 9]]);

  const second = connectionTo([8]);
  await expect(abandoned.assertNone(second.client)).rejects.toThrow(StandbyAway);
  expect(second.asked).toEqual([[7, 8]]);

  const last = connectionTo([]);
  await abandoned.assertNone(last.client);
  await abandoned.assertNone(last.client);
  expect(last.asked).toEqual([[8]]);
});
