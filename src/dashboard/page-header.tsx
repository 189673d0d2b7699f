import type { ConnectionState } from "../client/index.ts";
import { ConnectionBadge } from "./connection-badge.tsx";
import type { Session } from "./session.ts";

interface PageHeaderProps {
  page: "dashboard" | "watch";
  session: Session | null;
  connection: ConnectionState | null;
  onSignOut(): void;
}

export function PageHeader({ page, session, connection, onSignOut }: PageHeaderProps) {
  return (
    <header class="page-header">
      <a class="brand" href="/">
        <img src="/favicon.svg" alt="" width="28" height="28" />
        Playhead
      </a>
      <nav aria-label="Pages">
        <a href="/" aria-current={page === "dashboard" ? "page" : undefined}>
          Dashboard
        </a>
        <a href="/watch" aria-current={page === "watch" ? "page" : undefined}>
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

function toName({ user }: Session): string {
  return user.firstName ?? user.email ?? user.id;
}
