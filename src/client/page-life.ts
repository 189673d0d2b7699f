/** What a player does when its page is hidden, closed or brought back. Outside a browser none of it ever happens. */
export interface PageLife {
  /** The tab goes to the background. On a phone this is the last event that is sure to come. */
  onHidden(): void;
  /** The page is left. The browser may keep it in its cache and bring it back. */
  onClosing(): void;
  /** The page is shown, perhaps once more: the browser brought it back from its cache. */
  onShown(): void;
}

/** Follows the page until the signal. */
export function followPage(life: PageLife, signal: AbortSignal): void {
  if (typeof document === "undefined") return;
  document.addEventListener("visibilitychange", () => document.hidden && life.onHidden(), { signal });
  addEventListener("pagehide", life.onClosing, { signal });
  addEventListener("pageshow", life.onShown, { signal });
}
