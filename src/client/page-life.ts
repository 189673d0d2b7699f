/** What a player does when its page is hidden, closed or brought back. Outside a browser none of it ever happens. */
export interface PageLife {
  /** The tab goes to the background. On a phone this is the last event that is sure to come. */
  onHidden(): void;
  /** The page is left. The browser may keep it in its cache and bring it back. */
  onClosing(): void;
  /** The browser brought the page back from its cache. */
  onRestored(): void;
}

/** @returns stops following the page */
export function followPage(life: PageLife): () => void {
  if (typeof document === "undefined") return () => {};
  const page = new AbortController();
  const { signal } = page;
  document.addEventListener("visibilitychange", () => document.hidden && life.onHidden(), { signal });
  window.addEventListener("pagehide", () => life.onClosing(), { signal });
  window.addEventListener("pageshow", (event) => event.persisted && life.onRestored(), { signal });
  return () => page.abort();
}

/**
 * Sends the last words of a closing page. Nobody waits for the answer, and a failure is silent: the beats are kept, and
 * go out with the next page. A string goes as text/plain, which needs no preflight to another origin.
 */
export function sendBeacon(url: string, body: object): void {
  const text = JSON.stringify(body);
  if (navigator.sendBeacon?.(url, text)) return;
  void fetch(url, { method: "POST", keepalive: true, body: text }).catch(() => {});
}
