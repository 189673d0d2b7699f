import type { Pool } from "./pool.ts";

type Query = (...given: unknown[]) => unknown;

/** Tells how long every statement of the pool's connections took, in seconds, whether it succeeded or not. */
export function observeStatements(pool: Pool, observe: (seconds: number) => void): void {
  pool.on("connect", (client) => {
    const original = client.query.bind(client) as unknown as Query;
    const observed: Query = (...given) => {
      const startedAt = performance.now();
      const done = () => observe((performance.now() - startedAt) / 1000);
      const callback = given.at(-1);
      // The pool's own `query` calls back; everybody else waits for a promise.
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
