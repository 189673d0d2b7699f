/** 83.4 becomes 1:23, and 3723 becomes 1:02:03. */
export function toClock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const minutes = Math.floor(whole / 60);
  const rest = String(whole % 60).padStart(2, "0");
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

/** Rounded down: 100 % is shown only for what is complete. */
export function toPercent(percentage: number): string {
  return `${Math.floor(percentage)}%`;
}

const RELATIVE = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const STEPS: [unit: Intl.RelativeTimeFormatUnit, seconds: number][] = [
  ["day", 86_400],
  ["hour", 3600],
  ["minute", 60],
];

/** "3 minutes ago"; what is less than a minute old, or in the future by a wrong clock, is "just now". */
export function toAgo(iso: string | null, nowMs: number): string {
  if (iso === null) return "not yet";
  const seconds = (nowMs - Date.parse(iso)) / 1000;
  for (const [unit, length] of STEPS) {
    if (seconds >= length) return RELATIVE.format(-Math.floor(seconds / length), unit);
  }
  return "just now";
}

/** One or two letters for a round picture. */
export function toInitials(name: string): string {
  const words = name.split(/[\s._@-]+/).filter((word) => word !== "");
  return words
    .slice(0, 2)
    .map((word) => [...word][0]?.toUpperCase() ?? "")
    .join("");
}
