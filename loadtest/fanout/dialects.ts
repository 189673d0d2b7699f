import { frameOf } from "../load/websocket-frames.ts";

/*
 * How a receiver speaks with each server: what it says until it is let in, how it subscribes, how it shows that it
 * lives, and where in a frame the number of the round stands.
 */

export type DialectName = "playhead" | "socket.io" | "soketi" | "bare";

export interface Dialect {
  path: string;
  /** What to say to a text before it is let in: null for nothing, `true` when it is in. */
  enter(text: string): string | null | true;
  /** Asks for a topic; frames to be written as they are. */
  subscribe(topic: string): string;
  /** Whether a text says that the subscription stands. @throws Error where it was refused */
  isSubscribed(text: string): boolean;
  /** Stands right before the round's number. */
  roundAfter: string;
}

/** Engine.IO's ping, and the answer to it. */
export const ENGINE_PING = "2";
export const ENGINE_PONG = frameOf("3");

const SOCKET_IO_PATH = "/socket.io/?EIO=4&transport=websocket";
const NAMESPACE = "/dashboard";

function socketIo(authentication: string, subscribe: (topic: string) => string): Dialect {
  return {
    path: SOCKET_IO_PATH,
    enter(text) {
      if (text.startsWith("0")) return frameOf(`40${NAMESPACE},${authentication}`);
      if (text.startsWith("44")) throw new Error(`the handshake was refused: ${text}`);
      return text.startsWith(`40${NAMESPACE},`) ? true : null;
    },
    subscribe: (topic) => frameOf(`42${NAMESPACE},0${subscribe(topic)}`),
    isSubscribed(text) {
      if (text.includes('"ok":false')) throw new Error(`a subscription was refused: ${text}`);
      return text.startsWith(`43${NAMESPACE},`);
    },
    roundAfter: '"position":',
  };
}

/** Pusher allows no colon in a channel. https://pusher.com/docs/channels/using_channels/channels/#channel-naming-conventions */
export function toChannel(topic: string): string {
  return topic.replaceAll(":", ".");
}

export function dialectOf(name: DialectName, token: string): Dialect {
  switch (name) {
    case "playhead":
      return socketIo(JSON.stringify({ token }), (topic) => JSON.stringify(["subscribe", { topic }]));
    case "socket.io":
      return socketIo("", (topic) => JSON.stringify(["subscribe", topic]));
    case "soketi":
      return {
        path: "/app/app-key?protocol=7&client=js&version=8.4.0&flash=false",
        enter: (text) => (text.includes("pusher:connection_established") ? true : null),
        subscribe: (topic) =>
          frameOf(JSON.stringify({ event: "pusher:subscribe", data: { channel: toChannel(topic) } })),
        isSubscribed(text) {
          if (text.includes("pusher:error")) throw new Error(`a subscription was refused: ${text}`);
          return text.includes("pusher_internal:subscription_succeeded");
        },
        roundAfter: '\\"position\\":',
      };
    case "bare":
      return {
        path: "/",
        enter: () => true,
        subscribe: (topic) => frameOf(topic),
        isSubscribed: (text) => text === "subscribed",
        roundAfter: '"position":',
      };
  }
}
