/** What happens to the page that a player lives in. Nothing ever happens outside a browser. */
export interface PageLife {
  /** The tab went to the background: the last moment that is sure to come on a phone. */
  onHidden(): void;
  /** The page goes away, perhaps to come back from the browser's cache. */
  onClosing(): void;
  /** It came back. */
  onRestored(): void;
}

/** The answer stops following. */
export function followPage(life: PageLife): () => void {
  if (typeof document === "undefined" || typeof window === "undefined") return () => {};
  const page = new AbortController();
  const { signal } = page;
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && life.onHidden(), {
    signal,
  });
  window.addEventListener("pagehide", () => life.onClosing(), { signal });
  window.addEventListener("pageshow", (event) => event.persisted && life.onRestored(), { signal });
  return () => page.abort();
}

/** Sends what a closing page has left, without an answer. False where the browser would not take it. */
export function sendBeacon(url: string, body: object): boolean {
  const text = JSON.stringify(body);
  // Across origins only text passes without a preflight, for which a closing page has no time.
  const type = new URL(url).origin === globalThis.location?.origin ? "application/json" : "text/plain;charset=UTF-8";
  try {
    if (navigator.sendBeacon?.(url, new Blob([text], { type }))) return true;
    void fetch(url, { method: "POST", keepalive: true, headers: { "content-type": type }, body: text }).catch(() => {
      // Nobody is left to tell; the beats are kept and go out with the next page.
    });
    return true;
  } catch {
    return false;
  }
}
