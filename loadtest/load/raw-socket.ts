import { WebSocket } from "ws";

/*
 * A Socket.IO client of the least cost: frames written and read by hand, so that the load takes little of the cores
 * it shares with the server.
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
  onClose: (code: number) => void;
}

const CONNECT_TIMEOUT_MS = 20_000;

/** Resolves when the namespace has let it in. */
export function openRawSocket({
  url,
  namespace,
  token,
  onAck,
  onEvent,
  onClose,
}: RawSocketOptions): Promise<RawSocket> {
  const prefix = `${namespace},`;
  const ackPrefix = `43${prefix}`;
  const eventPrefix = `42${prefix}`;
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${url.replace(/^http/, "ws")}/socket.io/?EIO=4&transport=websocket`, {
      perMessageDeflate: false,
      skipUTF8Validation: true,
      // A mask of zeros: `ws` then does not touch the payload.
      generateMask: () => undefined,
    });
    const timer = setTimeout(() => {
      socket.terminate();
      reject(new Error("a socket did not connect in time"));
    }, CONNECT_TIMEOUT_MS);
    socket.on("error", reject);
    socket.on("close", (code) => {
      clearTimeout(timer);
      reject(new Error(`a socket was closed while connecting (${code})`));
      onClose(code);
    });
    socket.on("message", (data: Buffer) => {
      const text = data.toString("latin1");
      if (text.startsWith(ackPrefix)) {
        const start = text.indexOf("[", ackPrefix.length);
        onAck(Number(text.slice(ackPrefix.length, start)), text.slice(start));
      } else if (text.startsWith(eventPrefix)) onEvent?.(text.slice(eventPrefix.length));
      else if (text === "2") socket.send("3");
      else if (text.startsWith("0")) socket.send(`40${prefix}${JSON.stringify({ token })}`);
      else if (text.startsWith(`40${prefix}`)) {
        clearTimeout(timer);
        resolve({
          call: (id, event, json) => socket.send(`${eventPrefix}${id}["${event}",${json}]`),
          close: () => socket.terminate(),
        });
      } else if (text.startsWith(`44${prefix}`)) {
        reject(new Error(`the handshake was refused: ${text}`));
        socket.terminate();
      }
    });
  });
}
