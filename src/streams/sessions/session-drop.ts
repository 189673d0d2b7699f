import type { DropReason } from "../../protocol/stream.ts";

/** A session whose media server has to end the encoder's connection. */
export interface SessionDrop {
  server: string;
  boot: string;
  connection: string;
  sessionId: string;
  reason: DropReason;
}
