/*
 * The sockets of each user, and the versions that each has got.
 */

/** A socket of a user, and the user's next one. Nearly all users have one socket: a map for it would take 200 bytes a connection. */
interface Device {
  readonly socketId: string;
  /** The newest version that it has, by file; null before its first ack. */
  versions: Map<string, number> | null;
  next: Device | null;
}

export class Devices {
  readonly #byUser = new Map<string, Device>();

  /** @returns whether it is the user's first */
  add(userId: string, socketId: string): boolean {
    const first = this.#byUser.get(userId) ?? null;
    this.#byUser.set(userId, { socketId, versions: null, next: first });
    return first === null;
  }

  /** @returns whether it was the user's last */
  remove(userId: string, socketId: string): boolean {
    const first = this.#byUser.get(userId);
    if (first === undefined) return false;
    const left = without(first, socketId);
    if (left === null) this.#byUser.delete(userId);
    else this.#byUser.set(userId, left);
    return left === null;
  }

  /** @returns the newest version that the socket had before; 0 where it had none */
  told(userId: string, socketId: string, fileId: string, version: number): number {
    for (let device = this.#first(userId); device !== null; device = device.next) {
      if (device.socketId !== socketId) continue;
      const held = device.versions?.get(fileId) ?? 0;
      device.versions ??= new Map();
      if (held < version) device.versions.set(fileId, version);
      return held;
    }
    return 0;
  }

  /** Whether some socket of the user has not got this version. */
  isLacking(userId: string, fileId: string, version: number): boolean {
    for (let device = this.#first(userId); device !== null; device = device.next) {
      if (lacks(device, fileId, version)) return true;
    }
    return false;
  }

  /** The ids of the user's sockets that have not got this version. */
  lacking(userId: string, fileId: string, version: number): string[] {
    const ids: string[] = [];
    for (let device = this.#first(userId); device !== null; device = device.next) {
      if (lacks(device, fileId, version)) ids.push(device.socketId);
    }
    return ids;
  }

  /** Every file that a socket has an ack for. */
  *played(): Iterable<{ userId: string; fileId: string }> {
    for (const [userId, first] of this.#byUser) {
      for (let device: Device | null = first; device !== null; device = device.next)
        for (const fileId of device.versions?.keys() ?? []) yield { userId, fileId };
    }
  }

  #first(userId: string): Device | null {
    return this.#byUser.get(userId) ?? null;
  }
}

function lacks({ versions }: Device, fileId: string, version: number): boolean {
  return (versions?.get(fileId) ?? 0) < version;
}

function without(device: Device, socketId: string): Device | null {
  if (device.socketId === socketId) return device.next;
  if (device.next !== null) device.next = without(device.next, socketId);
  return device;
}
