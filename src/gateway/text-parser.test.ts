import { type Packet, PacketType } from "socket.io-parser";
import { describe, expect, it, vi } from "vitest";
import { ReadyJson } from "../protocol/json-slices.ts";
import { textParser } from "./text-parser.ts";

function decode(...frames: unknown[]): Packet[] {
  const decoder = new textParser.Decoder();
  const decoded = vi.fn<(packet: Packet) => void>();
  decoder.on("decoded", decoded);
  for (const frame of frames) decoder.add(frame);
  return decoded.mock.calls.map(([packet]) => packet);
}

describe("the parser", () => {
  it("reads the packets that it wrote", () => {
    const packet: Packet = { type: PacketType.EVENT, nsp: "/player", id: 7, data: ["heartbeat", { position: 1 }] };
    const frames = new textParser.Encoder().encode(packet);
    expect(decode(...frames)).toEqual([packet]);
  });

  it("writes an ack that is JSON already like any other", () => {
    const answer = { ok: true, text: "\u00e9]" };
    const toPacket = (data: unknown[]): Packet => ({ type: PacketType.ACK, nsp: "/player", id: 7, data });
    const [text] = new textParser.Encoder().encode(toPacket([new ReadyJson(JSON.stringify(answer))]));
    expect(decode(text)).toEqual([toPacket([answer])]);
  });

  it.each([
    ["a buffer", Buffer.from([1])],
    ["an ArrayBuffer", new ArrayBuffer(4)],
    ["a binary event", '51-["hello",{"_placeholder":true,"num":0}]'],
    ["a binary event without attachments", '50-["hello"]'],
    ["a binary event with too many", '599999999-["hello"]'],
    ["a binary event in a namespace", '51-/player,["hello",{"_placeholder":true,"num":0}]'],
    ["a binary ack", '61-/player,1[{"_placeholder":true,"num":0}]'],
    ["raw NaN", '2["heartbeat",{"position":NaN}]'],
    ["half a packet", '2["heartbeat"'],
    ["an unknown type", "9"],
    ["a reserved event", '2["disconnecting"]'],
    ["an event that is no text", '2[{"toString":1}]'],
  ])("refuses %s", (_, frame) => {
    expect(() => decode(frame)).toThrow();
  });

  it("waits for no attachment: it reads the packet after a refused one", () => {
    const decoder = new textParser.Decoder();
    const decoded = vi.fn();
    decoder.on("decoded", decoded);
    expect(() => decoder.add('51-["hello",{"_placeholder":true,"num":0}]')).toThrow();
    decoder.add('2["hello"]');
    expect(decoded).toHaveBeenCalledOnce();
  });
});
