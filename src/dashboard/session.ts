/** Who is signed in on this page. The learner of `/watch` and the instructor of `/` do not know of each other. */
export interface Session {
  token: string;
  expiresAt: string;
  user: { id: string; role: "learner" | "instructor" | "admin"; firstName?: string | null; email?: string | null };
}

export type Seat = "learner" | "instructor";

const KEY = "playhead:session:";

/** Null where nobody signed in, or the token has ended meanwhile. */
export function loadSession(seat: Seat): Session | null {
  try {
    const session = JSON.parse(localStorage.getItem(KEY + seat) ?? "null") as Session | null;
    return session && Date.parse(session.expiresAt) > Date.now() ? session : null;
  } catch {
    return null;
  }
}

export function saveSession(seat: Seat, session: Session | null): void {
  try {
    if (session) localStorage.setItem(KEY + seat, JSON.stringify(session));
    else localStorage.removeItem(KEY + seat);
  } catch {
    // Storage is denied: the session lasts as long as the page.
  }
}
