import { AppError } from "../errors.ts";
import {
  LIBUS_LISTEN_EXCLUSIVE_PORT,
  type TemplatedApp,
  type us_listen_socket,
  us_listen_socket_close,
  us_socket_local_port,
} from "./uws.ts";

type ListenOnHost = (
  host: string,
  port: number,
  options: number,
  opened: (socket: us_listen_socket | false) => void,
) => void;

/** With this option uWebSockets.js sets SO_REUSEPORT. */
const SHARED_PORT = 0;

export interface Place {
  host: string;
  port: number;
  /** Whether other processes may listen on the same port: the kernel gives each connection to one of them. Linux only. */
  shared?: boolean;
}

/** An open port. */
export interface Listening {
  port: number;
  url: string;
  /** Stops taking connections; open ones stay. `io.close()` alone would leave the port open. */
  close(): void;
}

/** Opens the port. @throws AppError `unavailable` if the port is taken, or the address is not this machine's */
export function listen(app: TemplatedApp, { host, port, shared = false }: Place): Promise<Listening> {
  return new Promise((resolve, reject) => {
    // The native code takes a host together with options; the typings do not have that form.
    const open = app.listen.bind(app) as unknown as ListenOnHost;
    open(host, port, shared ? SHARED_PORT : LIBUS_LISTEN_EXCLUSIVE_PORT, (socket) => {
      if (!socket) {
        reject(
          new AppError(
            "unavailable",
            `Cannot listen on ${host}:${port}: another process has the port, or HOST is no address of this machine. Set PORT or HOST.`,
          ),
        );
        return;
      }
      const taken = us_socket_local_port(socket as never);
      resolve({
        port: taken,
        url: `http://${host.includes(":") ? `[${host}]` : host}:${taken}`,
        close: () => us_listen_socket_close(socket),
      });
    });
  });
}
