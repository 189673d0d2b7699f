import type { Handed, Member } from "./member.ts";
import type { Subscriber } from "./outlet.ts";
import type { Room } from "./room.ts";

/** What one subscriber watches. */
interface Watched {
  rooms: Room[];
  handed: Handed;
}

/** Who watches which rooms. */
export class Audience {
  readonly #bySubscriber = new Map<string, Watched>();

  /** The new member is held until it has its snapshot. */
  add(room: Room, subscriber: Subscriber): Member {
    const { rooms, handed } = this.#open(subscriber.id);
    rooms.push(room);
    for (const one of rooms) one.mostTopics = Math.max(one.mostTopics, rooms.length);
    return room.add(subscriber, handed);
  }

  remove(room: Room, member: Member): void {
    const { subscriber } = member;
    room.remove(member);
    if (member.mode === "level") subscriber.leave(room.name);
    const watched = this.#bySubscriber.get(subscriber.id);
    if (watched === undefined) return;
    watched.rooms = watched.rooms.filter((one) => one !== room);
    if (watched.rooms.length === 0) this.#bySubscriber.delete(subscriber.id);
  }

  #open(subscriberId: string): Watched {
    const known = this.#bySubscriber.get(subscriberId);
    if (known !== undefined) return known;
    const watched: Watched = { rooms: [], handed: { turn: 0, bytes: 0 } };
    this.#bySubscriber.set(subscriberId, watched);
    return watched;
  }
}
