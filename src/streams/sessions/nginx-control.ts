import type { Logger } from "../../logger.ts";

/*
 * Ends publishers of nginx-rtmp by its control URL, the only way to tell it anything. nginx knows a publisher by its
 * application and its name, and the name is the stream key. Both are kept here while they are published, in memory and
 * nowhere else.
 * https://github.com/arut/nginx-rtmp-module/wiki/Control-module
 */

const TIMEOUT_MS = 2000;
/** Past this number the oldest publisher is forgotten; it can only be cut at its next `on_update`. */
const MAX_PUBLISHERS = 10_000;

interface Publisher {
  app: string;
  name: string;
}

export interface NginxControl {
  /** Whether the server is an nginx with a control URL. */
  canDrop(server: string): boolean;
  /** Remembers what the connection publishes, so that it can be dropped. */
  remember(server: string, connection: string, publisher: Publisher): void;
  /** The connection publishes no more. */
  forget(server: string, connection: string): void;
  /** Tells nginx to end the connection. Resolves when nginx has answered or cannot be reached; never rejects. */
  drop(server: string, connection: string): Promise<void>;
}

export function createNginxControl(
  urls: readonly { server: string; url: string }[],
  { logger }: { logger: Logger },
): NginxControl {
  const urlOf = new Map(urls.map(({ server, url }) => [server, url.replace(/\/$/, "")]));
  const publishers = new Map<string, Publisher>();
  const toKey = (server: string, connection: string) => `${server}\u0000${connection}`;
  return {
    canDrop: (server) => urlOf.has(server),

    remember(server, connection, publisher) {
      if (!urlOf.has(server)) return;
      publishers.delete(toKey(server, connection));
      publishers.set(toKey(server, connection), publisher);
      const [oldest] = publishers.keys();
      if (publishers.size > MAX_PUBLISHERS && oldest !== undefined) publishers.delete(oldest);
    },

    forget: (server, connection) => void publishers.delete(toKey(server, connection)),

    async drop(server, connection) {
      const publisher = publishers.get(toKey(server, connection));
      const url = urlOf.get(server);
      if (url === undefined || publisher === undefined) return;
      publishers.delete(toKey(server, connection));
      const query = new URLSearchParams({ app: publisher.app, name: publisher.name });
      try {
        const response = await fetch(`${url}/drop/publisher?${query}`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
        if (!response.ok) throw new Error(`nginx answered ${response.status}`);
      } catch (error) {
        // Does not log the error itself: its text may hold the URL, and with it the key.
        const { name, message } = error as Error;
        const reason = message.includes(publisher.name) ? name : message;
        logger.warn(
          { server, reason },
          "nginx could not be told to drop a publisher; its next on_update will be refused",
        );
      }
    },
  };
}
