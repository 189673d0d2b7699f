import { Decoder as BaseDecoder, Encoder as BaseEncoder, type Packet, PacketType } from "socket.io-parser";
import { ReadyJson } from "../protocol/json-slices.ts";

/*
 * The parser of Socket.IO without its binary part. Nothing here is binary, and a client could make the server hold memory by
 * packets whose attachments never come (CVE-2026-33151, CVE-2026-69185). A binary packet ends its socket.
 */

/** Sends an ack that is JSON already as it stands. */
class Encoder extends BaseEncoder {
  override encode(packet: Packet): string[] {
    const ready: unknown = packet.type === PacketType.ACK ? packet.data[0] : null;
    if (!(ready instanceof ReadyJson)) return super.encode(packet) as string[];
    return [`${packet.type}${packet.nsp === "/" ? "" : `${packet.nsp},`}${packet.id}[${ready.text}]`];
  }
}

class Decoder extends BaseDecoder {
  override add(packet: unknown): void {
    if (typeof packet !== "string") throw new Error("binary packets are not accepted");
    const type = packet.charCodeAt(0);
    if (type === BINARY_EVENT || type === BINARY_ACK) throw new Error("packets with attachments are not accepted");
    super.add(packet);
  }
}

const BINARY_EVENT = "5".charCodeAt(0);
const BINARY_ACK = "6".charCodeAt(0);

/** The `parser` option of Socket.IO. */
export const textParser = { Encoder, Decoder };
