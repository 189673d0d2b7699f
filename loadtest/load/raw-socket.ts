import { connect as connectTcp, type Socket } from "node:net";
import { frameOf, readFrames, UPGRADED } from "./websocket-frames.ts";

/*
 * A Socket.IO client of the least cost: a bare TCP connection, frames written and read by hand, so that the load takes
 * little of the cores it shares with the server.
 */

export interface RawSocket {
  /** Sends a call, its payload as JSON. The ack comes to `onAck` with the same id. */
  call(id: number, event: string, json: string): void;
  close(): void;
}

export interface RawSocketOptions {
  url: string;
  namespace: string;
  token: string;
  onAck: (id: number, json: string) => void;
  onEvent?: (json: string) => void;
  /** The code is that of the server's close frame, 1006 where there was none. */
  onClose: (code: number) => void;
}

const CONNECT_TIMEOUT_MS = 20_000;
const ABNORMAL = 1006;
const CODE_0 = 48;
const CODE_9 = 57;

/** Read into by all sockets: whatever is taken from it is copied before the next is read. */
const READ_BUFFER = Buffer.allocUnsafeSlow(64 * 1024);
const NO_BYTES = Buffer.alloc(0);
/** RFC 6455: 16 bytes, whichever; nobody between here and there. */
const WEBSOCKET_KEY = Buffer.alloc(16).toString("base64");

/** Engine.IO's own; a server that hears none hangs up. */
const PING = "2";
const PONG = frameOf("3");

/** Resolves when the namespace has let it in. */
export function openRawSocket(options: RawSocketOptions): Promise<RawSocket> {
  const { url, namespace, token, onAck, onEvent, onClose } = options;
  const ackPrefix = `43${namespace},`;
  const eventPrefix = `42${namespace},`;
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    let rest = NO_BYTES;
    let isUpgraded = false;
    let code = ABNORMAL;

    const onText = (text: string): void => {
      if (text.startsWith(ackPrefix)) {
        let id = 0;
        let at = ackPrefix.length;
        for (let digit = text.charCodeAt(at); digit >= CODE_0 && digit <= CODE_9; digit = text.charCodeAt(++at)) {
          id = id * 10 + digit - CODE_0;
        }
        onAck(id, text.slice(at));
      } else if (text.startsWith(eventPrefix)) onEvent?.(text.slice(eventPrefix.length));
      else if (text === PING) socket.write(PONG, "latin1");
      else if (text.startsWith("0")) socket.write(frameOf(`40${namespace},${JSON.stringify({ token })}`), "latin1");
      else if (text.startsWith(`40${namespace},`)) {
        clearTimeout(timer);
        resolve({
          call: (id, event, json) => void socket.write(frameOf(`${eventPrefix}${id}["${event}",${json}]`), "latin1"),
          close: () => socket.destroy(),
        });
      } else if (text.startsWith(`44${namespace},`)) fail(new Error(`the handshake was refused: ${text}`));
    };
    const onFrame = { text: onText, close: (given: number) => (code = given) };
    const onBytes = (length: number): boolean => {
      let bytes = READ_BUFFER.subarray(0, length);
      if (rest.length > 0) bytes = Buffer.concat([rest, bytes]);
      let from = 0;
      if (!isUpgraded) {
        const end = bytes.indexOf("\r\n\r\n");
        if (end >= 0 && !bytes.toString("latin1", 0, end).startsWith(UPGRADED)) {
          fail(new Error(`no WebSocket: ${bytes.toString("latin1", 0, end)}`));
          return true;
        }
        isUpgraded = end >= 0;
        from = end + 4;
      }
      if (isUpgraded) from += readFrames(bytes.subarray(from), onFrame);
      else from = 0;
      rest = from === bytes.length ? NO_BYTES : Buffer.from(bytes.subarray(from));
      return true;
    };

    const socket: Socket = connectTcp({
      host: hostname,
      port: Number(port),
      noDelay: true,
      onread: { buffer: READ_BUFFER, callback: onBytes },
    });
    const fail = (error: Error): void => {
      reject(error);
      socket.destroy();
    };
    const timer = setTimeout(() => fail(new Error("a socket did not connect in time")), CONNECT_TIMEOUT_MS);
    socket.once("connect", () => {
      socket.write(
        `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: ${hostname}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${WEBSOCKET_KEY}\r\n\r\n`,
      );
    });
    socket.on("error", reject);
    // The server's end is the end: nothing is left to say.
    socket.on("end", () => socket.destroy());
    socket.on("close", () => {
      clearTimeout(timer);
      reject(new Error(`a socket was closed while connecting (${code})`));
      onClose(code);
    });
  });
}
