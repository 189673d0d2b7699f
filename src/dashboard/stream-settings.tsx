import { useEffect, useState } from "preact/hooks";
import type { Stream } from "../client/index.ts";
import type { OwnStream, SessionPolicy } from "../protocol/stream.ts";
import { toTime } from "./format.ts";
import { NotLoaded } from "./notice.tsx";
import { loadStream } from "./stream-api.ts";
import { useLoad } from "./use-load.ts";
import { useMinute } from "./use-now.ts";

const POLICIES: Record<SessionPolicy, string> = { first_wins: "is refused", takeover: "takes the stream over" };

/** The settings that only the owner sees. They are loaded again after each change; the old ones are shown meanwhile. */
export function StreamSettings({ token, stream }: { token: string; stream: Stream }) {
  const { id, title, status, keyPrefix, expiresAt } = stream;
  const [settings, retry] = useLoad(() => loadStream(token, id), [token, id, title, status, keyPrefix, expiresAt]);
  const [latest, setLatest] = useState<OwnStream | null>(null);
  const nowMs = useMinute();
  useEffect(() => {
    if (settings.kind === "loaded") setLatest(settings.value);
  }, [settings]);

  if (settings.kind === "failed") return <NotLoaded state={settings} what="the settings" onRetry={retry} />;
  if (latest === null) return null;
  return (
    <dl class="facts">
      {latest.previousKeyUntil !== null && Date.parse(latest.previousKeyUntil) > nowMs && (
        <>
          <dt>Old key</dt>
          <dd>works until {toTime(latest.previousKeyUntil, nowMs)}</dd>
        </>
      )}
      <dt>Second encoder</dt>
      <dd>{POLICIES[latest.policy]}</dd>
      <dt>Lost encoder</dt>
      <dd>
        {latest.reconnectWindowSeconds === 0
          ? "ends the broadcast"
          : `may reconnect within ${latest.reconnectWindowSeconds}\u00a0s`}
      </dd>
      <dt>Created</dt>
      <dd>{toTime(latest.createdAt, nowMs)}</dd>
    </dl>
  );
}
