import { randomUUID } from "node:crypto";
import type { Answered } from "../harness/load.ts";
import { openSocketIo, outcomeOf } from "./socketio-client.ts";

/** How a player asks to be acked: with what it cannot know, or with all of its progress. */
export const ACKS = ["brief", "whole"] as const;
export type Acks = (typeof ACKS)[number];

export interface PlayerOptions {
  url: string;
  token: string;
  acks: Acks;
  fileId: string;
  /** Played by one beat, in ms. */
  beatMs: number;
  onClose?(): void;
}

/** A player that goes on watching one file, beat by beat. */
export interface Player {
  /** As JSON; empty before the first. */
  lastAck: string;
  /** Sends the next beat. @returns its position, in seconds */
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
