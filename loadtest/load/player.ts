import { randomUUID } from "node:crypto";
import type { Answered } from "../harness/load.ts";
import { openSocketIo, outcomeOf } from "./socketio-client.ts";

/** The acks that a player asks for: only the fields that it cannot derive, or the whole progress. */
export const ACKS = ["brief", "whole"] as const;
export type Acks = (typeof ACKS)[number];

export interface PlayerOptions {
  url: string;
  token: string;
  acks: Acks;
  fileId: string;
  /** One beat plays so much, in ms. */
  beatMs: number;
  onClose?(): void;
}

/** A player that watches one file from its start. */
export interface Player {
  /** JSON; empty before the first ack. */
  lastAck: string;
  /** Sends the next beat. @returns its position in seconds */
  beat(answered: Answered): number;
}

export async function openPlayer({ url, token, acks, fileId, beatMs, ...events }: PlayerOptions): Promise<Player> {
  const client = await openSocketIo({ url, namespace: "/player", auth: { token, acks }, ...events });
  const sessionId = randomUUID();
  let seq = 0;
  const player: Player = {
    lastAck: "",
    beat(answered) {
      const [from, to] = [(seq * beatMs) / 1000, ((seq + 1) * beatMs) / 1000];
      const beat = `{"fileId":"${fileId}","position":${to},"played":[[${from},${to}]],"state":"playing","rate":1,"ageMs":0,"sessionId":"${sessionId}","seq":${seq++}}`;
      client.call("heartbeat", beat, (json) => {
        player.lastAck = json;
        answered(outcomeOf(json));
      });
      return to;
    },
  };
  return player;
}
