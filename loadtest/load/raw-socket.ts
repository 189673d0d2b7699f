import { connect, type Socket } from "node:net";

/*
 * A WebSocket (RFC 6455) that costs as little as possible, because the load shares the cores with the server. It is a bare
 * TCP connection. It masks frames with zeros, which leaves their text as it is, and expects each message in one frame:
 * neither uWebSockets.js nor `ws` splits a message by itself. Texts are latin1.
 */

export interface RawSocketOptions {
  /** `http://127.0.0.1:8080/socket.io/?EIO=4` */
  url: string;
  /** The client's address. One address has about 28,000 ports. */
  localAddress?: string | undefined;
  onText(text: string): void;
  /** Gets the bytes of each frame of at least LONG_BYTES, header included. */
  onLongFrame?(bytes: number): void;
  /** Called once, also if the socket never opened. */
  onClose(reason: string): void;
}

/** Shorter frames are answers and pings. */
export const LONG_BYTES = 150;

/** The headers of a browser: they cost the server CPU, and some servers keep them in memory. */
const BROWSER_HEADERS = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Pragma: no-cache",
  "Cache-Control: no-cache",
  "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
  "Accept-Encoding: gzip, deflate, br, zstd",
  "Accept-Language: en-US,en;q=0.9",
  "Sec-WebSocket-Version: 13",
  `Sec-WebSocket-Key: ${Buffer.alloc(16).toString("base64")}`,
].join("\r\n");
const UPGRADED = "HTTP/1.1 101";
const HEAD_END = "\r\n\r\n";

const [OPCODE_TEXT, OPCODE_CLOSE, OPCODE_PING] = [1, 8, 9];
const [FRAME_TEXT, FRAME_PONG] = ["\x81", "\x8a"];
const [LENGTH_16, LENGTH_64] = [126, 127];
const MAX_LENGTH_16 = 65_535;
const NO_MASK = "\0\0\0\0";

/** All sockets read into this buffer in turn, so a socket copies the bytes that it keeps. */
const READ_BUFFER = Buffer.allocUnsafeSlow(256 * 1024);
const NO_BYTES = Buffer.alloc(0);

export class RawSocket {
  readonly #options: RawSocketOptions;
  readonly #socket: Socket;
  /** The bytes of an incomplete frame. */
  #rest = NO_BYTES;
  /** How many bytes of a skipped frame are still to come. */
  #skip = 0;
  #isOpen = false;
  #unsent = "";
  #reason = "closed";
  /** Whether the socket counts long frames without reading them. */
  isSkipping = false;

  constructor(options: RawSocketOptions) {
    this.#options = options;
    const { host, hostname, port, pathname, search, origin } = new URL(options.url);
    this.#socket = connect({
      host: hostname,
      port: Number(port),
      ...(options.localAddress && { localAddress: options.localAddress }),
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
        `GET ${pathname}${search} HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\n${BROWSER_HEADERS}${HEAD_END}`,
      );
    });
    this.#socket.on("error", (error: NodeJS.ErrnoException) => {
      this.#reason = error.code ?? error.message;
    });
    this.#socket.on("end", () => this.#socket.destroy());
    this.#socket.once("close", () => options.onClose(this.#reason));
  }

  /** Sends a text. All texts of one turn of the event loop leave in one write. */
  send(text: string): void {
    this.#write(FRAME_TEXT, text);
  }

  close(): void {
    this.#socket.destroy();
  }

  #write(head: string, text: string): void {
    const { length } = text;
    if (length > MAX_LENGTH_16) throw new Error(`a frame of ${length} bytes; the load test sends at most 65,535`);
    if (this.#unsent === "") {
      queueMicrotask(() => {
        this.#socket.write(this.#unsent, "latin1");
        this.#unsent = "";
      });
    }
    this.#unsent +=
      length < LENGTH_16
        ? `${head}${String.fromCharCode(0x80 | length)}${NO_MASK}${text}`
        : `${head}\xfe${String.fromCharCode(length >> 8, length & 0xff)}${NO_MASK}${text}`;
  }

  #read(length: number): void {
    let bytes = READ_BUFFER.subarray(0, length);
    if (this.#rest.length > 0) {
      bytes = Buffer.concat([this.#rest, bytes]);
      this.#rest = NO_BYTES;
    }
    const from = this.#isOpen ? this.#readFrames(bytes, 0) : this.#readUpgrade(bytes);
    if (from < bytes.length) this.#rest = Buffer.from(bytes.subarray(from));
  }

  #readUpgrade(bytes: Buffer): number {
    const end = bytes.indexOf(HEAD_END);
    if (end < 0) return 0;
    const head = bytes.toString("latin1", 0, end);
    if (!head.startsWith(UPGRADED)) {
      this.#reason = `no WebSocket: ${head.split("\r\n")[0]}`;
      this.#socket.destroy();
      return bytes.length;
    }
    this.#isOpen = true;
    return this.#readFrames(bytes, end + HEAD_END.length);
  }

  /** @returns the start of the first incomplete frame */
  #readFrames(bytes: Buffer, first: number): number {
    let from = first;
    while (from < bytes.length) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, bytes.length - from);
        this.#skip -= skipped;
        from += skipped;
        continue;
      }
      const short = (bytes[from + 1] ?? 0) & 0x7f;
      const start = from + (short === LENGTH_16 ? 4 : short === LENGTH_64 ? 10 : 2);
      if (start > bytes.length) break;
      const wide = short === LENGTH_64 ? Number(bytes.readBigUInt64BE(from + 2)) : short;
      const length = short === LENGTH_16 ? bytes.readUInt16BE(from + 2) : wide;
      const isSkipped = this.isSkipping && length >= LONG_BYTES;
      if (!isSkipped && start + length > bytes.length) break;
      if (length >= LONG_BYTES) this.#options.onLongFrame?.(start + length - from);
      if (isSkipped) {
        this.#skip = length;
        from = start;
      } else {
        this.#take((bytes[from] as number) & 0x0f, bytes, start, start + length);
        from = start + length;
      }
    }
    return from;
  }

  #take(opcode: number, bytes: Buffer, start: number, end: number): void {
    if (opcode === OPCODE_TEXT) this.#options.onText(bytes.toString("latin1", start, end));
    else if (opcode === OPCODE_PING) this.#write(FRAME_PONG, bytes.toString("latin1", start, end));
    else if (opcode === OPCODE_CLOSE) {
      this.#reason = `closed by the server (${end - start < 2 ? "no code" : bytes.readUInt16BE(start)})`;
    }
  }
}
