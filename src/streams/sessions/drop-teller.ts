import type { Metrics } from "../../metrics/metrics.ts";
import type { NginxControl } from "./nginx-control.ts";
import type { SessionDrop } from "./session-drop.ts";

/** Dropped sessions stay readable for an hour. Past this number, the oldest is told again when it is read again. */
const MAX_TOLD = 10_000;

export interface DropTellerParts {
  /** Tells the media server if it is connected to this process. */
  tell: (drop: SessionDrop) => void;
  nginx: NginxControl;
  metrics: Metrics;
}

/** Tells media servers which sessions to drop. Each session once, whether the claim that ousted it or a notification names it first. */
export class DropTeller {
  readonly #parts: DropTellerParts;
  /** By session id, the oldest first. */
  readonly #told = new Map<string, Promise<void>>();

  constructor(parts: DropTellerParts) {
    this.#parts = parts;
  }

  /** Resolves when the media server was told, as far as it can be. */
  drop(drop: SessionDrop): Promise<void> {
    const telling = this.#told.get(drop.sessionId) ?? this.#tell(drop);
    this.#told.set(drop.sessionId, telling);
    return telling;
  }

  async dropAll(drops: readonly SessionDrop[]): Promise<void> {
    const telling = drops.map((drop) => this.drop(drop));
    for (const oldest of this.#told.keys()) {
      if (this.#told.size <= MAX_TOLD) break;
      this.#told.delete(oldest);
    }
    await Promise.all(telling);
  }

  /** Counts these sessions as told. */
  skip(drops: readonly SessionDrop[]): void {
    for (const { sessionId } of drops) this.#told.set(sessionId, Promise.resolve());
  }

  async #tell(drop: SessionDrop): Promise<void> {
    const { tell, nginx, metrics } = this.#parts;
    metrics.streamDrops.inc({ reason: drop.reason });
    tell(drop);
    await nginx.drop(drop.server, drop.connection);
  }
}
