import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";

const DAY_MS = 24 * 3600 * 1000;
const MONTHS_AHEAD = 3;

/**
 * Makes the partitions of `user_activity_log` months ahead, now and once a day.
 * @returns the timer, to be cleared at the stop
 */
export function makePartitionsDaily({ pool, logger }: { pool: Pool; logger: Logger }): NodeJS.Timeout {
  const make = () => {
    pool.query("SELECT make_activity_partitions($1)", [MONTHS_AHEAD]).catch((error: unknown) => {
      logger.warn({ err: error }, "the partitions of the activity log could not be made; tried again tomorrow");
    });
  };
  make();
  return setInterval(make, DAY_MS).unref();
}
