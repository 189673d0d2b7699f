import { Decoder as BaseDecoder, Encoder } from "socket.io-parser";

/*
 * Socket.IO's own protocol, less its binary part: nothing here is binary, and packets that wait for attachments are
 * where memory can be held by sending nothing (CVE-2026-33151, CVE-2026-69185). Such a packet ends its socket.
 */

class Decoder extends BaseDecoder {
  override add(packet: unknown): void {
    if (typeof packet !== "string") throw new Error("binary packets are not taken");
    const type = packet.charCodeAt(0);
    if (type === BINARY_EVENT || type === BINARY_ACK) throw new Error("packets with attachments are not taken");
    super.add(packet);
  }
}

const BINARY_EVENT = "5".charCodeAt(0);
const BINARY_ACK = "6".charCodeAt(0);

export const textParser = { Encoder, Decoder };
