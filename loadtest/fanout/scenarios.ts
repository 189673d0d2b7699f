/** So many dashboards over so many topics. */
export interface Scenario {
  dashboards: number;
  topics: number;
}

/** In this order no dashboard has to leave a topic: more of them join. */
export const SCENARIOS: readonly Scenario[] = [
  { dashboards: 100, topics: 1 },
  { dashboards: 1000, topics: 1 },
  { dashboards: 2000, topics: 1000 },
  { dashboards: 10_000, topics: 1 },
  { dashboards: 10_000, topics: 1000 },
];

export const QUICK_SCENARIOS: readonly Scenario[] = [
  { dashboards: 100, topics: 1 },
  { dashboards: 1000, topics: 1 },
  { dashboards: 2000, topics: 1000 },
];

/** The one topic that all watch, and those that dashboards are spread over. */
export const SHARED_FILE = 0;
const FIRST_SPREAD_FILE = 1;
export const FILES = FIRST_SPREAD_FILE + 1000;

export function filesOf({ topics }: Scenario): number[] {
  return topics === 1 ? [SHARED_FILE] : Array.from({ length: topics }, (_, i) => FIRST_SPREAD_FILE + i);
}

export function nameOf({ dashboards, topics }: Scenario): string {
  const count = dashboards.toLocaleString("en-US");
  return topics === 1 ? `${count} on one topic` : `${count} on ${topics.toLocaleString("en-US")} topics`;
}
