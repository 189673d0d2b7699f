import { OK } from "../harness/load.ts";
import { RawSocket } from "./raw-socket.ts";

/*
 * Speaks Socket.IO over a raw socket: one namespace, calls with acks, events. Of an ack it reads only `"ok":true` or the
 * code of the error.
 */

export interface SocketIoOptions {
  /** `http://127.0.0.1:8080` */
  url: string;
  /** Null connects to Engine.IO and joins no namespace. */
  namespace: string | null;
  auth?: object;
  localAddress?: string | undefined;
  onEvent?(json: string): void;
  onLongFrame?(bytes: number): void;
  /** Called if the socket closes after the namespace let it in. */
  onClose?(reason: string): void;
}

export interface SocketIoClient {
  /** `onAck` gets the JSON of an array with one ack. */
  call(event: string, payloadJson: string, onAck: (json: string) => void): void;
  /** Sends an event without an ack. */
  send(event: string, payloadJson: string): void;
  /** @throws Error if the server refuses the call, or does not answer in time */
  ask(event: string, payload: object): Promise<string>;
  socket: RawSocket;
  close(): void;
}

/** The server's refusal of a handshake. */
export class HandshakeRefused extends Error {
  readonly data: { code?: string; retryAfterMs?: number };

  constructor(json: string) {
    super(`the handshake was refused: ${json}`);
    this.data = (JSON.parse(json) as { data?: HandshakeRefused["data"] }).data ?? {};
  }
}

const PATH = "/socket.io/?EIO=4&transport=websocket";
const CONNECT_TIMEOUT_MS = 30_000;
const ACK_TIMEOUT_MS = 20_000;
const [PING, PONG] = ["2", "3"];
const [CODE_0, CODE_9] = [48, 57];

/** Resolves after the namespace let the socket in. @throws HandshakeRefused, or Error if the socket closed before */
export function openSocketIo(options: SocketIoOptions): Promise<SocketIoClient> {
  const { url, namespace, auth, localAddress, onEvent, onLongFrame, onClose } = options;
  const packet = (type: number) => `${type}${namespace},`;
  const [ack, event, entered, refused] = [packet(43), packet(42), packet(40), packet(44)];
  const acks = new Map<number, (json: string) => void>();
  let calls = 0;
  return new Promise((resolve, reject) => {
    let isIn = false;
    const fail = (error: Error) => {
      clearTimeout(timer);
      reject(error);
      socket.close();
    };
    const timer = setTimeout(() => fail(new Error("no answer in time")), CONNECT_TIMEOUT_MS);
    const enter = () => {
      isIn = true;
      clearTimeout(timer);
      resolve(client);
    };
    const onText = (text: string) => {
      if (text.startsWith(ack)) {
        let [id, at] = [0, ack.length];
        for (let digit = text.charCodeAt(at); digit >= CODE_0 && digit <= CODE_9; digit = text.charCodeAt(++at)) {
          id = id * 10 + digit - CODE_0;
        }
        const onAck = acks.get(id);
        acks.delete(id);
        onAck?.(text.slice(at));
      } else if (text.startsWith(event)) onEvent?.(text.slice(event.length));
      else if (text === PING) socket.send(PONG);
      else if (text.startsWith("0")) {
        if (namespace === null) enter();
        else socket.send(`${entered}${auth === undefined ? "" : JSON.stringify(auth)}`);
      } else if (text.startsWith(entered)) enter();
      else if (text.startsWith(refused)) fail(new HandshakeRefused(text.slice(refused.length)));
    };
    const socket = new RawSocket({
      url: `${url}${PATH}`,
      localAddress,
      onText,
      ...(onLongFrame === undefined ? {} : { onLongFrame }),
      onClose(reason) {
        if (isIn) onClose?.(reason);
        else fail(new Error(reason));
      },
    });
    const client: SocketIoClient = {
      call(name, payloadJson, onAck) {
        const id = calls++;
        acks.set(id, onAck);
        socket.send(`${event}${id}["${name}",${payloadJson}]`);
      },
      send: (name, payloadJson) => socket.send(`${event}["${name}",${payloadJson}]`),
      ask: (name, payload) =>
        new Promise((answer, refuse) => {
          const ackTimer = setTimeout(() => refuse(new Error(`${name}: no ack in time`)), ACK_TIMEOUT_MS);
          client.call(name, JSON.stringify(payload), (json) => {
            clearTimeout(ackTimer);
            if (outcomeOf(json) === OK) answer(json);
            else refuse(new Error(`${name} was refused: ${json}`));
          });
        }),
      socket,
      close: () => socket.close(),
    };
  });
}

/** The outcome of a call: `OK`, or the code of the error in the ack. */
export function outcomeOf(json: string): string {
  return json.includes('"ok":true') ? OK : (/"code":"(\w+)"/.exec(json)?.[1] ?? json.slice(0, 100));
}
