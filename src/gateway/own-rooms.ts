import type { Namespace } from "socket.io";

const NO_ROOMS: Set<string> = new Set();

/**
 * Keeps sockets out of the room of their own id, which Socket.IO puts each of them in and nobody here sends to: a
 * set, an entry and a native topic, 500 bytes a connection. After the server is attached to its app, which changes
 * the adapter.
 */
export function skipOwnRooms({ adapter }: Namespace): void {
  const addAll = adapter.addAll.bind(adapter);
  adapter.addAll = (id, rooms) => addAll(id, rooms.size === 1 && rooms.has(id) ? NO_ROOMS : rooms);
}
