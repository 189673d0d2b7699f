import { type BeatShelf, type BeatStorage, createBeatShelf } from "./beat-storage.ts";
import type { PlayerParts } from "./player-parts.ts";

/*
 * Keeps a player's unacked beats in the storage, under the user to whom they belong. Before the first token nobody knows
 * for sure who that is: until then the beats are kept under the user who was here last, and nothing of an earlier page
 * is taken over. The beats move when the token names another user.
 */

const LAST_USER_PREFIX = "playhead:user:";
const ADOPT_EVERY_MS = 60_000;

export interface BeatKeeping {
  /**
   * Tells whose beats these are. From here on beats of the same user's earlier pages are taken over.
   * @param isGuessNext whether a later player will need this user as its guess: it has no token at its start
   */
  setUser(userId: string, isGuessNext: boolean): void;
  /** Writes the beats of the queue down. */
  save(): void;
  /** The page is left, or comes back: from now on what is saved may be taken over at once, or not. */
  setClosed(isClosed: boolean): void;
}

/** @param onAdopted called when beats of an earlier page were put into the queue */
export function createBeatKeeping(
  storage: BeatStorage | null,
  { clock, queue, url: server, sessionId }: PlayerParts,
  onAdopted: () => void,
): BeatKeeping {
  const lastUserKey = LAST_USER_PREFIX + encodeURIComponent(server);
  let user: string | null = null;
  let shelf: BeatShelf | null = null;
  let isClosed = false;
  let cancelAdopt = () => {};

  function open(userId: string | null): void {
    if (!storage || !userId || userId === user) return;
    const old = shelf;
    user = userId;
    shelf = createBeatShelf({ storage, clock }, { server, userId, sessionId });
    save();
    old?.save([]);
  }

  function save(): void {
    try {
      shelf?.save(queue.beats, { closed: isClosed });
    } catch {
      // The storage is full. The beats are still in memory, and go out from there.
    }
  }

  function adopt(): void {
    cancelAdopt();
    if (!shelf) return;
    const { beats, release } = shelf.adopt();
    if (beats.length > 0) {
      queue.restore(beats);
      save();
      onAdopted();
    }
    release();
    cancelAdopt = clock.after(ADOPT_EVERY_MS, adopt);
  }

  open(storage?.get(lastUserKey) ?? null);

  return {
    setUser(userId, isGuessNext) {
      open(userId);
      try {
        if (isGuessNext) storage?.set(lastUserKey, userId);
      } catch {
        // The storage is full. Only the guess after the next reload is lost.
      }
      adopt();
    },
    save,
    setClosed(closed) {
      isClosed = closed;
      save();
    },
  };
}
