import { SERVER_URL } from "./server-url.ts";

/** The user who is signed in on a page. */
export interface Session {
  token: string;
  expiresAt: string;
  user: { id: string; role: "learner" | "instructor" | "admin"; firstName?: string | null; email?: string | null };
}

/** Each page has its own session: `/watch` that of a learner, `/` that of an instructor. */
export type Seat = "learner" | "instructor";

/** Several servers may stand behind one origin, each at its own path. */
const KEY = `playhead:session:${new URL(SERVER_URL).pathname}:`;

/** Null if nobody is signed in, or the token has expired. */
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
