import { afterEach, beforeEach } from "vitest";
import { createPlayer } from "../../src/client/player.ts";
import type { Player, PlayerOptions } from "../../src/client/player-api.ts";
import { type FakeProgressServer, startFakeProgressServer } from "./fake-progress-server.ts";
import { takeEverything } from "./sdk-player.ts";

export interface Players {
  /** Takes every heartbeat unless a test says otherwise. */
  server: FakeProgressServer;
  /** Opens a player of the file `f`, which is closed after the test. */
  open(more?: Partial<PlayerOptions>): Player;
}

/** Starts a fake server before each test, and closes the test's players and the server after it. */
export function usePlayers(onStarted: (players: Players) => void): void {
  let server: FakeProgressServer;
  let players: Player[];
  beforeEach(async () => {
    server = await startFakeProgressServer();
    players = [];
    takeEverything(server);
    onStarted({
      server,
      open(more = {}) {
        const player = createPlayer({ url: server.url, token: "t", fileId: "f", storage: null, ...more });
        players.push(player);
        return player;
      },
    });
  });
  afterEach(async () => {
    await Promise.all(players.map((player) => player.close()));
    await server.stop();
  });
}
