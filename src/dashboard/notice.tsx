import type { ComponentChildren } from "preact";

/** Something a person should know, and what to do about it. */
export function Notice(props: {
  kind: "error" | "warning" | "info";
  children: ComponentChildren;
  onRetry?: () => void;
}) {
  return (
    <div class={`notice ${props.kind}`} role={props.kind === "error" ? "alert" : "status"}>
      <p>{props.children}</p>
      {props.onRetry && (
        <button type="button" class="quiet" onClick={props.onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** Said while the server itself does not hear of every change. */
export function BehindNotice({ live }: { live: { behind: boolean } }) {
  return live.behind ? <Notice kind="warning">Live updates are interrupted. What you see may be old.</Notice> : null;
}

/** What is about to come, for the eye; and for the ear in words. */
export function Loading({ what }: { what: string }) {
  return (
    <div class="loading" role="status">
      <span class="spinner" aria-hidden="true" />
      Loading {what}…
    </div>
  );
}
