import { useEffect, useRef, useState } from "preact/hooks";
import { attachPlayer, type ConnectionState, type FileProgress, type Player } from "../client/index.ts";
import type { CourseFile } from "./api.ts";
import { WatchedBar } from "./bars.tsx";
import { CLIP_SECONDS, CLIP_URL } from "./clip.ts";
import { ConfirmButton } from "./confirm-button.tsx";
import { toClock, toPercent } from "./format.ts";
import { Notice } from "./notice.tsx";
import { SERVER_URL } from "./server-url.ts";

interface WatchPlayerProps {
  token: string;
  file: CourseFile;
  onConnection(state: ConnectionState): void;
  onProgress(progress: FileProgress): void;
}

/** The state of the player. It is read a few times a second, because a media element does not report each change. */
interface PlayerView {
  position: number;
  watched: [number, number][];
  pending: number;
}

/** One file: its video, its watched parts, and whether they are saved. */
export function WatchPlayer({ token, file, onConnection, onProgress }: WatchPlayerProps) {
  const video = useRef<HTMLVideoElement>(null);
  const player = useRef<Player | null>(null);
  const [progress, setProgress] = useState<FileProgress | null>(null);
  const [resumedAt, setResumedAt] = useState(0);
  const [failure, setFailure] = useState<string | null>(null);
  const [view, setView] = useState<PlayerView>({ position: 0, watched: [], pending: 0 });

  useEffect(() => {
    const media = video.current;
    if (!media) return;
    const attached = attachPlayer(media, { url: SERVER_URL, token, fileId: file.id });
    player.current = attached;
    onConnection(attached.state);
    attached.on("state", onConnection);
    attached.on("progress", (fresh) => {
      setProgress(fresh);
      onProgress(fresh);
    });
    attached.on("error", (error) => setFailure(error.message));
    void attached.ready.then((stored) => setResumedAt(stored?.resumeAt ?? 0));
    const timer = setInterval(() => {
      setView({ position: media.currentTime, watched: attached.watched, pending: attached.pending });
    }, 200);
    return () => {
      clearInterval(timer);
      // Sends the rest by itself; nobody waits for that.
      void attached.close();
    };
  }, [token, file.id, onConnection, onProgress]);

  async function startOver(): Promise<void> {
    const answer = await player.current?.reset();
    setFailure(answer && !answer.ok ? answer.error.message : null);
    setResumedAt(0);
    if (answer?.ok && video.current) video.current.currentTime = 0;
  }

  const duration = progress?.duration ?? file.durationSeconds ?? CLIP_SECONDS;
  const watchedSeconds = view.watched.reduce((sum, [from, to]) => sum + to - from, 0);
  const percentage = Math.min(100, (watchedSeconds / duration) * 100);
  return (
    <section class="card player" aria-labelledby="player-title">
      {/* biome-ignore lint/a11y/useMediaCaption: the clip has soft notes and no speech */}
      <video ref={video} src={CLIP_URL} controls playsInline preload="auto" width="640" height="360" />
      <WatchedBar watched={view.watched} duration={duration} position={view.position} />
      <div class="player-head">
        <h1 id="player-title">{file.title}</h1>
        <output class="percentage" aria-label="Watched">
          {toPercent(progress?.completed ? Math.max(percentage, progress.percentage) : percentage)}
        </output>
        {progress?.completed && <span class="badge done">Completed</span>}
      </div>
      <p class="muted">
        {toClock(watchedSeconds)} of {toClock(duration)} watched. Only parts that you play count. Parts that you skip by
        dragging the playhead do not.
        {resumedAt > 0 && ` You resumed at ${toClock(resumedAt)}.`}
      </p>
      {failure && <Notice kind="error">{failure}</Notice>}
      <div class="player-foot">
        <span class={view.pending > 0 ? "badge" : "badge done"} role="status">
          {view.pending > 0 ? "Saving…" : "Saved"}
        </span>
        <ConfirmButton
          label="Start over"
          question="Forget your progress in this file?"
          yes="Forget it"
          no="Keep it"
          onYes={() => void startOver()}
        />
      </div>
    </section>
  );
}
