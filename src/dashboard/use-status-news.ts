import { useEffect, useRef, useState } from "preact/hooks";
import type { Stream, StreamStatus } from "../client/index.ts";
import { STATUS_WORDS } from "./stream-badge.tsx";

/** The newest changes of status, in words for screen readers. Empty until the first change. */
export function useStatusNews(streams: readonly Stream[] | undefined): string {
  const [news, setNews] = useState("");
  const known = useRef<Map<string, StreamStatus> | null>(null);
  useEffect(() => {
    if (!streams) return;
    const before = known.current;
    known.current = new Map(streams.map(({ id, status }) => [id, status]));
    const changed = streams.filter(({ id, status }) => (before?.get(id) ?? status) !== status);
    if (changed.length > 0) setNews(changed.map(({ title, status }) => `${title}: ${STATUS_WORDS[status]}`).join(". "));
  }, [streams]);
  return news;
}
