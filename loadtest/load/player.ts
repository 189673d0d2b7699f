import { randomUUID } from "node:crypto";
import { openRawSocket, type RawSocket } from "./raw-socket.ts";

/** What one beat plays, in ms: little, so that ten beats a second stay within the budget of four times real time. */
const BEAT_MS = 100;

export interface PlayerOptions {
  url: string;
  token: string;
  fileId: string;
  /** A beat was answered: when it was due, and null or the code it was refused with. */
  onAnswer: (player: Player, dueAt: number, refusal: string | null) => void;
  onClose: () => void;
}

/** A player that goes on watching one file, beat by beat. */
export class Player {
  readonly #fileId: string;
  readonly #sessionId = randomUUID();
  readonly #onAnswer: PlayerOptions["onAnswer"];
  /** When the beats were due that have no answer yet, by number. */
  readonly #waiting = new Map<number, number>();
  #socket: RawSocket | null = null;
  #seq = 0;

  private constructor({ fileId, onAnswer }: PlayerOptions) {
    this.#fileId = fileId;
    this.#onAnswer = onAnswer;
  }

  static async connect(options: PlayerOptions): Promise<Player> {
    const player = new Player(options);
    player.#socket = await openRawSocket({
      url: options.url,
      namespace: "/player",
      token: options.token,
      onAck: (id, json) => player.#onAck(id, json),
      onClose: options.onClose,
    });
    return player;
  }

  /** Sends the next beat. */
  beat(dueAt: number): void {
    const seq = this.#seq++;
    const [from, to] = [(seq * BEAT_MS) / 1000, ((seq + 1) * BEAT_MS) / 1000];
    this.#waiting.set(seq, dueAt);
    this.#socket?.call(
      seq,
      "heartbeat",
      `{"fileId":"${this.#fileId}","position":${to},"played":[[${from},${to}]],"state":"playing","rate":1,"ageMs":0,"sessionId":"${this.#sessionId}","seq":${seq}}`,
    );
  }

  #onAck(id: number, json: string): void {
    const dueAt = this.#waiting.get(id);
    if (dueAt === undefined) return;
    this.#waiting.delete(id);
    this.#onAnswer(this, dueAt, json.startsWith('[{"ok":true') ? null : (/"code":"(\w+)"/.exec(json)?.[1] ?? json));
  }

  close(): void {
    this.#socket?.close();
  }
}
