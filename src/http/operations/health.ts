import { withinTime } from "../../within-time.ts";

/*
 * Whether the process is alive, and whether it can do its work. A process that answers is alive. The answer does not depend
 * on the database, or the process would be restarted for an outage that a restart cannot end.
 */

const CHECK_TIMEOUT_MS = 2000;

export interface HealthCheck {
  ok: boolean;
  /** Shown to everybody, so it contains no addresses and no texts of errors. */
  detail?: string;
}

export interface Health {
  alive(): { status: "ok"; uptimeSeconds: number };
  ready(): Promise<{ ok: boolean; checks: Record<string, HealthCheck> }>;
}

/** Makes the health of these checks. They run side by side; a check that throws or takes longer than `timeoutMs` is not ok. */
export function createHealth(
  { checks }: { checks: Record<string, () => HealthCheck | Promise<HealthCheck>> },
  { timeoutMs = CHECK_TIMEOUT_MS }: { timeoutMs?: number } = {},
): Health {
  const startedAt = performance.now();

  async function run(check: () => HealthCheck | Promise<HealthCheck>): Promise<HealthCheck> {
    const late = new Error(`no answer within ${timeoutMs} ms`);
    try {
      return await withinTime(Promise.resolve(check()), timeoutMs, () => late);
    } catch (error) {
      return { ok: false, detail: error === late ? late.message : "the check failed" };
    }
  }

  return {
    alive: () => ({ status: "ok", uptimeSeconds: Math.floor((performance.now() - startedAt) / 1000) }),
    async ready() {
      const results = await Promise.all(
        Object.entries(checks).map(async ([name, check]) => [name, await run(check)] as const),
      );
      return { ok: results.every(([, result]) => result.ok), checks: Object.fromEntries(results) };
    },
  };
}
