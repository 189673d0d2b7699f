import { randomUUID } from "node:crypto";
import { openRawSocket, type RawSocket } from "./raw-socket.ts";

/** What one beat plays, in ms: little, so that ten beats a second stay within the budget of four times real time. */
const BEAT_MS = 100;

/** A player that goes on watching one file, beat by beat. */
export class Player {
  readonly #fileId: string;
  readonly #sessionId = randomUUID();
  readonly #waiting = new Map<number, (refusal: string | null) => void>();
  #socket: RawSocket | null = null;
  #seq = 0;

  private constructor(fileId: string) {
    this.#fileId = fileId;
  }

  static async connect(given: { url: string; token: string; fileId: string; onClose: () => void }): Promise<Player> {
    const player = new Player(given.fileId);
    player.#socket = await openRawSocket({
      url: given.url,
      namespace: "/player",
      token: given.token,
      onAck: (id, json) => player.#onAck(id, json),
      onClose: given.onClose,
    });
    return player;
  }

  /** Sends the next beat; `done` gets null, or the code it was refused with. */
  beat(done: (refusal: string | null) => void): void {
    const seq = this.#seq++;
    const [from, to] = [(seq * BEAT_MS) / 1000, ((seq + 1) * BEAT_MS) / 1000];
    this.#waiting.set(seq, done);
    this.#socket?.call(
      seq,
      "heartbeat",
      `{"fileId":"${this.#fileId}","position":${to},"played":[[${from},${to}]],"state":"playing","rate":1,"ageMs":0,"sessionId":"${this.#sessionId}","seq":${seq}}`,
    );
  }

  #onAck(id: number, json: string): void {
    const done = this.#waiting.get(id);
    this.#waiting.delete(id);
    done?.(json.startsWith('[{"ok":true') ? null : (/"code":"(\w+)"/.exec(json)?.[1] ?? json));
  }

  close(): void {
    this.#socket?.close();
  }
}
