import { connect } from "node:net";
import { frameOf, pongOf, readFrames, UPGRADED } from "../load/websocket-frames.ts";

/*
 * A WebSocket of almost no cost, for tens of thousands in few processes.
 */

export interface ThinSocket {
  send(text: string): void;
  close(): void;
}

export interface ThinSocketOptions {
  url: URL;
  /** Where it comes from: an address has some 28,000 ports. */
  localAddress: string;
  onOpen?: () => void;
  onText: (text: string) => void;
  /** Once, however it ends, before it was open too. */
  onClose: (reason: string) => void;
}

/** What a browser sends: headers cost the server something, and some servers keep them. */
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

/** Read into by all sockets: whatever is taken from it is copied before the next is read. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);
const NO_BYTES = Buffer.alloc(0);

export function openThinSocket({ url, localAddress, onOpen, onText, onClose }: ThinSocketOptions): ThinSocket {
  let isUpgraded = false;
  let rest = NO_BYTES;
  let reason = "closed";
  const onFrame = {
    text: onText,
    ping: (payload: string) => void socket.write(pongOf(payload), "latin1"),
    close(code: number) {
      reason = `closed by the server (${code})`;
    },
  };

  function onBytes(length: number): boolean {
    let bytes = READ_BUFFER.subarray(0, length);
    if (rest.length > 0) bytes = Buffer.concat([rest, bytes]);
    let from = 0;
    if (!isUpgraded) {
      const end = bytes.indexOf("\r\n\r\n");
      if (end >= 0 && !bytes.toString("latin1", 0, UPGRADED.length).startsWith(UPGRADED)) {
        reason = `no WebSocket: ${bytes.toString("latin1", 0, 60).split("\r")[0]}`;
        socket.destroy();
        return true;
      }
      isUpgraded = end >= 0;
      from = isUpgraded ? end + 4 : 0;
      if (isUpgraded) onOpen?.();
    }
    if (isUpgraded) from += readFrames(bytes.subarray(from), onFrame);
    rest = from === bytes.length ? NO_BYTES : Buffer.from(bytes.subarray(from));
    return true;
  }

  const socket = connect({
    host: url.hostname,
    port: Number(url.port),
    localAddress,
    noDelay: true,
    onread: { buffer: READ_BUFFER, callback: onBytes },
  });
  socket.once("connect", () => {
    socket.write(
      `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nOrigin: ${url.origin}\r\n${BROWSER_HEADERS}\r\n\r\n`,
    );
  });
  socket.on("error", (error: NodeJS.ErrnoException) => {
    reason = error.code ?? error.message;
  });
  socket.on("end", () => socket.destroy());
  socket.once("close", () => onClose(reason));
  return {
    send: (text) => void socket.write(frameOf(text), "latin1"),
    close: () => socket.destroy(),
  };
}
