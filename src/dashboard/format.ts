/** 83.4 becomes 1:23, and 3723 becomes 1:02:03. */
export function toClock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const minutes = Math.floor(whole / 60);
  const rest = String(whole % 60).padStart(2, "0");
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

/** Rounded down, so that 100% means complete. */
export function toPercent(percentage: number): string {
  return `${Math.floor(percentage)}%`;
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const STEPS: [unit: Intl.RelativeTimeFormatUnit, seconds: number][] = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];

/** "3 minutes ago". Less than a minute, or a future time by a wrong clock, is "just now". */
export function toAgo(iso: string | null, nowMs: number): string {
  if (iso === null) return "not yet";
  const seconds = (nowMs - Date.parse(iso)) / 1000;
  for (const [unit, length] of STEPS) {
    if (seconds >= length) return RELATIVE.format(-Math.floor(seconds / length), unit);
  }
  return "just now";
}

/** "in 3 days". Less than a minute, or a past time, is "now". */
export function toAhead(iso: string, nowMs: number): string {
  const seconds = (Date.parse(iso) - nowMs) / 1000;
  for (const [unit, length] of STEPS) {
    if (seconds >= length) return RELATIVE.format(Math.floor(seconds / length), unit);
  }
  return "now";
}

const DATE_AND_TIME = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short" });
const TIME = new Intl.DateTimeFormat("en", { timeStyle: "short" });

/** The time of day, with the date if that is not today. */
export function toTime(iso: string, nowMs: number): string {
  const time = new Date(iso);
  const isToday = time.toDateString() === new Date(nowMs).toDateString();
  return (isToday ? TIME : DATE_AND_TIME).format(time);
}

/** 850 becomes 850 kbit/s, and 2480 becomes 2.5 Mbit/s. */
export function toBitrate(kbps: number): string {
  return kbps < 1000 ? `${Math.round(kbps)}\u00a0kbit/s` : `${(kbps / 1000).toFixed(1)}\u00a0Mbit/s`;
}

/** "1 viewer", "1,200 viewers". */
export function toCount(count: number, one: string): string {
  return `${count.toLocaleString("en")}\u00a0${one}${count === 1 ? "" : "s"}`;
}

/** One or two letters that stand for a name. */
export function toInitials(name: string): string {
  const words = name.split(/[\s._@-]+/).filter((word) => word !== "");
  return words
    .slice(0, 2)
    .map((word) => [...word][0]?.toUpperCase() ?? "")
    .join("");
}
