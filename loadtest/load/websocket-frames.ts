/*
 * RFC 6455, as far as the load test speaks it: text frames out, masked by zeros so that no payload is touched; whole
 * frames in, as neither uWebSockets.js nor `ws` sends parts of one message without being asked to.
 */

export const UPGRADED = "HTTP/1.1 101";

const OPCODE = 0x0f;
const TEXT = 1;
const CLOSE = 8;
const PING = 9;
const LENGTH = 0x7f;
const LENGTH_16 = 126;
const LENGTH_64 = 127;
const MAX_LENGTH_16 = 65_535;
const NO_MASK = "\0\0\0\0";

/** A text frame of ASCII, to be written as latin1. */
export function frameOf(text: string): string {
  const { length } = text;
  if (length < LENGTH_16) return `\x81${String.fromCharCode(0x80 | length)}${NO_MASK}${text}`;
  if (length > MAX_LENGTH_16) throw new Error(`a frame of ${length} bytes; the load test sends at most 65,535`);
  return `\x81\xfe${String.fromCharCode(length >> 8, length & 0xff)}${NO_MASK}${text}`;
}

/** The answer to a ping, with its payload. */
export function pongOf(payload: string): string {
  return `\x8a${String.fromCharCode(0x80 | payload.length)}${NO_MASK}${payload}`;
}

/** Reads all frames that have come whole; returns how many bytes they were. */
export function readFrames(
  bytes: Buffer,
  onFrame: { text: (text: string) => void; close: (code: number) => void; ping?: (payload: string) => void },
): number {
  let from = 0;
  while (bytes.length - from >= 2) {
    const opcode = (bytes[from] as number) & OPCODE;
    let length = (bytes[from + 1] as number) & LENGTH;
    let start = from + 2;
    if (length === LENGTH_16) {
      if (bytes.length - start < 2) break;
      length = bytes.readUInt16BE(start);
      start += 2;
    } else if (length === LENGTH_64) {
      if (bytes.length - start < 8) break;
      length = Number(bytes.readBigUInt64BE(start));
      start += 8;
    }
    if (bytes.length - start < length) break;
    from = start + length;
    if (opcode === TEXT) onFrame.text(bytes.toString("latin1", start, from));
    else if (opcode === PING) onFrame.ping?.(bytes.toString("latin1", start, from));
    else if (opcode === CLOSE) onFrame.close(length >= 2 ? bytes.readUInt16BE(start) : 1005);
  }
  return from;
}
