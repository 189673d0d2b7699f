import type { Namespace } from "socket.io";

const NO_ROOMS: Set<string> = new Set();

/**
 * Keeps sockets out of the room that is named by their own id. Socket.IO puts every socket into it, and nobody here sends to
 * it; it costs 500 bytes a connection. To be called after the server is attached to its app, which changes the adapter.
 */
export function skipOwnRooms({ adapter }: Namespace): void {
  const addAll = adapter.addAll.bind(adapter);
  adapter.addAll = (id, rooms) => addAll(id, rooms.size === 1 && rooms.has(id) ? NO_ROOMS : rooms);
}
