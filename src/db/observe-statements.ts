import type { Pool } from "./pool.ts";

type Query = (...given: unknown[]) => unknown;

/** Reports the duration in seconds of every statement on the connections of a pool, failed statements too. */
export function observeStatements(pool: Pool, observe: (seconds: number) => void): void {
  pool.on("connect", (client) => {
    const original = client.query.bind(client) as unknown as Query;
    const observed: Query = (...given) => {
      const startedAt = performance.now();
      const done = () => observe((performance.now() - startedAt) / 1000);
      const callback = given.at(-1);
      // `pool.query` passes a callback; all other callers wait for the promise.
      if (typeof callback === "function") {
        const called: Query = (...results) => {
          done();
          callback(...results);
        };
        return original(...given.slice(0, -1), called);
      }
      const result = original(...given);
      if (result instanceof Promise) result.then(done, done);
      return result;
    };
    client.query = observed as never;
  });
}
