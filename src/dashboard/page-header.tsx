import type { ConnectionState } from "../client/index.ts";
import { ConnectionBadge } from "./connection-badge.tsx";
import type { Session } from "./session.ts";
import { type Part, toAddress } from "./use-place.ts";

const PARTS: { part: Part; label: string }[] = [
  { part: "courses", label: "Courses" },
  { part: "streams", label: "Streams" },
];

interface PageHeaderProps {
  page: Part | "watch";
  session: Session | null;
  connection: ConnectionState | null;
  /** Shows another part of the dashboard without loading the page again. Absent on other pages. */
  onGo?(part: Part): void;
  onSignOut(): void;
}

export function PageHeader({ page, session, connection, onGo, onSignOut }: PageHeaderProps) {
  return (
    <header class="page-header">
      <a class="brand" href="./">
        <img src="favicon.svg" alt="" width="28" height="28" />
        Playhead
      </a>
      <nav aria-label="Pages">
        {PARTS.map(({ part, label }) => (
          <a
            key={part}
            href={toAddress({ part })}
            aria-current={page === part ? "page" : undefined}
            onClick={(event) => {
              if (!onGo || !isPlainClick(event)) return;
              event.preventDefault();
              onGo(part);
            }}
          >
            {label}
          </a>
        ))}
        <a href="watch" aria-current={page === "watch" ? "page" : undefined}>
          Watch
        </a>
      </nav>
      <div class="who">
        {connection && <ConnectionBadge state={connection} />}
        {session && (
          <>
            <span class="muted name" title={session.user.id}>
              {toName(session)}
            </span>
            <button type="button" class="quiet" onClick={onSignOut}>
              Sign out
            </button>
          </>
        )}
      </div>
    </header>
  );
}

/** A click that does not ask for a new tab or window. */
function isPlainClick(event: MouseEvent): boolean {
  return event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
}

function toName({ user }: Session): string {
  return user.firstName ?? user.email ?? user.id;
}
