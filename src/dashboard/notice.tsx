import type { ComponentChildren } from "preact";
import type { Unloaded } from "./use-load.ts";

/** A message to the user, with a button if a new attempt may help. */
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

/** A warning while the server may miss changes in the database. */
export function BehindNotice({ live }: { live: { behind: boolean } }) {
  return live.behind ? <Notice kind="warning">Live updates are interrupted. These figures may be old.</Notice> : null;
}

/** A spinner, with words for screen readers. */
export function Loading({ what }: { what: string }) {
  return (
    <div class="loading" role="status">
      <span class="spinner" aria-hidden="true" />
      Loading {what}…
    </div>
  );
}

/** Stands in for something that is still being loaded or could not be loaded. */
export function NotLoaded({ state, what, onRetry }: { state: Unloaded; what: string; onRetry(): void }) {
  if (state.kind === "loading") return <Loading what={what} />;
  return (
    <Notice kind="error" onRetry={onRetry}>
      {state.message}
    </Notice>
  );
}
