import { connect as connectTcp, type Socket } from "node:net";
import { UPGRADED } from "../load/websocket-frames.ts";
import { type Dialect, ENGINE_PING, ENGINE_PONG } from "./dialects.ts";

/*
 * A dashboard that counts its frames and reads none of them: the header of each, its length skipped. Only a probe, one
 * of many, looks for the number of the round in its frames.
 */

/** Read into by all sockets in turn. */
const READ_BUFFER = Buffer.allocUnsafeSlow(256 * 1024);
const WEBSOCKET_KEY = Buffer.alloc(16).toString("base64");
const CONNECT_TIMEOUT_MS = 30_000;
const NO_BYTES = Buffer.alloc(0);
/** Shorter ones are signs of life and answers, not updates. */
const MIN_UPDATE_BYTES = 150;
const OPCODE_PING = 9;
const OPCODE_CLOSE = 8;
/** An empty WebSocket pong with a mask of zeros. */
const PONG = Buffer.from([0x8a, 0x80, 0, 0, 0, 0]);

/** Update frames that all receivers of this process got. */
export const counted = { frames: 0, bytes: 0, closed: 0 };

export interface Probe {
  /** A frame came whose round is this one. */
  onRound(round: number): void;
}

export class Receiver {
  readonly #dialect: Dialect;
  readonly #socket: Socket;
  /** What came of a frame that is not whole, while its text is wanted. */
  #rest = NO_BYTES;
  /** So many bytes of a frame are still to come that nobody looks at. */
  #skip = 0;
  #isUpgraded = false;
  /** While connecting and subscribing texts are read. */
  #onText: ((text: string) => void) | null = null;
  #onFailure: (error: Error) => void = () => undefined;
  probe: Probe | null = null;
  /** The last update that a probe got. */
  lastUpdate = "";

  private constructor(port: number, dialect: Dialect) {
    this.#dialect = dialect;
    this.#socket = connectTcp({
      host: "127.0.0.1",
      port,
      noDelay: true,
      onread: {
        buffer: READ_BUFFER,
        callback: (length) => {
          this.#read(length);
          return true;
        },
      },
    });
    this.#socket.once("connect", () => {
      this.#socket.write(
        `GET ${dialect.path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${WEBSOCKET_KEY}\r\n\r\n`,
      );
    });
    this.#socket.on("error", (error) => this.#onFailure(error));
    this.#socket.on("close", () => {
      counted.closed += 1;
      this.#onFailure(new Error("a receiver was closed"));
    });
  }

  /** Resolves when the server has let it in. */
  static async connect(port: number, dialect: Dialect): Promise<Receiver> {
    const receiver = new Receiver(port, dialect);
    await receiver.#until((text) => {
      const said = dialect.enter(text);
      if (typeof said === "string") receiver.write(said);
      return said === true;
    });
    return receiver;
  }

  async subscribe(topic: string): Promise<void> {
    if (this.#socket.destroyed) throw new Error("a receiver was closed before it subscribed");
    this.write(this.#dialect.subscribe(topic));
    await this.#until((text) => this.#dialect.isSubscribed(text));
  }

  write(frame: string): void {
    this.#socket.write(frame, "latin1");
  }

  close(): void {
    this.#socket.destroy();
  }

  #until(isDone: (text: string) => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#onFailure(new Error("no answer in time")), CONNECT_TIMEOUT_MS);
      const end = () => {
        clearTimeout(timer);
        this.#onText = null;
        this.#onFailure = () => undefined;
      };
      this.#onFailure = (error) => {
        end();
        reject(error);
      };
      this.#onText = (text) => {
        try {
          if (!isDone(text)) return;
        } catch (error) {
          this.#onFailure(error as Error);
          return;
        }
        end();
        resolve();
      };
    });
  }

  #read(length: number): void {
    let from = 0;
    let bytes = READ_BUFFER.subarray(0, length);
    if (this.#rest.length > 0) {
      bytes = Buffer.concat([this.#rest, bytes]);
      this.#rest = NO_BYTES;
    }
    if (!this.#isUpgraded) {
      from = this.#readUpgrade(bytes);
      if (from === 0) return;
    }
    const end = bytes.length;
    while (from < end) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, end - from);
        this.#skip -= skipped;
        from += skipped;
        continue;
      }
      const start = headerEnd(bytes, from, end);
      if (start < 0) break;
      const next = start + payloadLength(bytes, from);
      const isUpdate = next - start >= MIN_UPDATE_BYTES;
      if (isUpdate && this.probe === null && this.#onText === null) {
        counted.frames += 1;
        counted.bytes += next - from;
        this.#skip = next - start;
        from = start;
        continue;
      }
      if (next > end) break;
      this.#take((bytes[from] as number) & 0x0f, bytes, start, next);
      if (isUpdate) {
        counted.frames += 1;
        counted.bytes += next - from;
      }
      from = next;
    }
    if (from < end) this.#rest = Buffer.from(bytes.subarray(from, end));
  }

  /** @returns where the frames begin; 0 while the answer is not whole */
  #readUpgrade(bytes: Buffer): number {
    const end = bytes.indexOf("\r\n\r\n");
    if (end < 0) {
      this.#rest = Buffer.from(bytes);
      return 0;
    }
    const head = bytes.toString("latin1", 0, end);
    if (!head.startsWith(UPGRADED)) {
      this.#onFailure(new Error(`no WebSocket: ${head}`));
      this.close();
    }
    this.#isUpgraded = true;
    // Who speaks first is a matter of the dialect: an empty text stands for being connected.
    this.#onText?.("");
    return end + 4;
  }

  #take(opcode: number, bytes: Buffer, start: number, end: number): void {
    // Signs of life are answered whatever else is waited for.
    if (opcode === OPCODE_PING) this.#socket.write(PONG);
    else if (end - start === ENGINE_PING.length && bytes.toString("latin1", start, end) === ENGINE_PING) {
      this.write(ENGINE_PONG);
    } else if (opcode === OPCODE_CLOSE)
      this.#onFailure(new Error(`closed: ${bytes.toString("latin1", start + 2, end)}`));
    else if (this.#onText !== null) this.#onText(bytes.toString("latin1", start, end));
    else if (end - start >= MIN_UPDATE_BYTES) this.#takeUpdate(bytes, start, end);
  }

  #takeUpdate(bytes: Buffer, start: number, end: number): void {
    const { roundAfter } = this.#dialect;
    const text = bytes.toString("latin1", start, end);
    const at = text.indexOf(roundAfter);
    if (at < 0) return; // an update that no round caused, such as new sums
    this.lastUpdate = text;
    this.probe?.onRound(Number.parseInt(text.slice(at + roundAfter.length, at + roundAfter.length + 9), 10));
  }
}

/** Where a frame's payload begins; -1 while its header is not whole. */
function headerEnd(bytes: Buffer, from: number, end: number): number {
  if (end - from < 2) return -1;
  const length = (bytes[from + 1] as number) & 0x7f;
  const start = from + (length === 126 ? 4 : length === 127 ? 10 : 2);
  return start > end ? -1 : start;
}

function payloadLength(bytes: Buffer, from: number): number {
  const length = (bytes[from + 1] as number) & 0x7f;
  if (length === 126) return bytes.readUInt16BE(from + 2);
  return length === 127 ? Number(bytes.readBigUInt64BE(from + 2)) : length;
}
