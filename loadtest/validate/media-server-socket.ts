import { connect as connectTcp } from "node:net";
import { frameOf, readFrames, UPGRADED } from "../load/websocket-frames.ts";

/*
 * A media server's connection of the least cost: what is called within one turn leaves in one write.
 */

export interface MediaServerSocket {
  /** The answer comes to `onAnswer` with the same id. */
  call(id: number, json: string): void;
  close(): void;
}

export interface MediaServerSocketOptions {
  port: number;
  auth: { secret: string; server: string; boot: string };
  onAnswer: (id: number, text: string) => void;
  onClose: () => void;
}

const NAMESPACE = "/rtmp,";
const ACK = `43${NAMESPACE}`;
const HEAD = `42${NAMESPACE}`;
const PONG = frameOf("3");
const WEBSOCKET_KEY = Buffer.alloc(16).toString("base64");
const CONNECT_TIMEOUT_MS = 10_000;

/** Resolves when the namespace has let it in. */
export function openMediaServerSocket(options: MediaServerSocketOptions): Promise<MediaServerSocket> {
  const { port, auth, onAnswer, onClose } = options;
  return new Promise((resolve, reject) => {
    const socket = connectTcp({ host: "127.0.0.1", port, noDelay: true });
    let rest: Buffer = Buffer.alloc(0);
    let isUpgraded = false;
    let unsent = "";
    const timer = setTimeout(() => fail(new Error("a media server did not connect in time")), CONNECT_TIMEOUT_MS);
    const fail = (error: Error): void => {
      reject(error);
      socket.destroy();
    };
    const flush = (): void => {
      socket.write(unsent, "latin1");
      unsent = "";
    };
    const send = (frame: string): void => {
      if (unsent === "") queueMicrotask(flush);
      unsent += frame;
    };
    const onText = (text: string): void => {
      if (text.startsWith(ACK)) {
        const from = text.indexOf("[", ACK.length);
        onAnswer(Number(text.slice(ACK.length, from)), text.slice(from));
      } else if (text === "2") send(PONG);
      else if (text.startsWith("0")) send(frameOf(`40${NAMESPACE}${JSON.stringify(auth)}`));
      else if (text.startsWith(`40${NAMESPACE}`)) {
        clearTimeout(timer);
        resolve({
          call: (id, json) => send(frameOf(`${HEAD}${id}["stream:validate",${json}]`)),
          close: () => socket.destroy(),
        });
      } else if (text.startsWith("44")) fail(new Error(`the handshake was refused: ${text}`));
    };
    const onFrame = { text: onText, close: () => socket.destroy() };
    socket.on("data", (chunk) => {
      let bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      if (!isUpgraded) {
        const end = bytes.indexOf("\r\n\r\n");
        if (end >= 0) {
          if (!bytes.toString("latin1", 0, end).startsWith(UPGRADED)) fail(new Error("no WebSocket"));
          isUpgraded = true;
          bytes = bytes.subarray(end + 4);
        }
      }
      rest = isUpgraded ? bytes.subarray(readFrames(bytes, onFrame)) : bytes;
    });
    socket.once("connect", () => {
      socket.write(
        `GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${WEBSOCKET_KEY}\r\n\r\n`,
      );
    });
    socket.on("error", reject);
    socket.on("close", () => {
      clearTimeout(timer);
      reject(new Error("a media server's connection was closed"));
      onClose();
    });
  });
}
