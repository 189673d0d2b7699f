import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { isNextBelow, readDescriptorLimit } from "./descriptors.ts";
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

/** Descriptors that no connection of a client may take. */
export interface Reserve {
  descriptors: number;
  logger: Logger;
}

/** How often it is looked whether connections may be taken again. */
const CHECK_MS = 250;
/** One line a state: descriptors may come and go many times a second. */
const SILENCE_MS = 60_000;
/** The most of all descriptors that are reserved. */
const MAX_RESERVED_SHARE = 1 / 2;

/**
 * Opens the port. While only reserved descriptors are left, the port is closed: uWebSockets.js tries again and again to
 * take a connection for which there is no descriptor, and the database's connections could not be opened.
 * @throws AppError `unavailable` if the port is taken, or the address is not this machine's
 */
export async function listen(app: TemplatedApp, place: Place, reserve?: Reserve): Promise<Listening> {
  const { host, port, shared = false } = place;
  // The native code takes a host together with options; the typings do not have that form.
  const listenOnHost = app.listen.bind(app) as unknown as ListenOnHost;
  const open = (at: number) =>
    new Promise<us_listen_socket | false>((resolve) => {
      listenOnHost(host, at, shared ? SHARED_PORT : LIBUS_LISTEN_EXCLUSIVE_PORT, resolve);
    });
  const first = await open(port);
  if (!first) {
    throw new AppError(
      "unavailable",
      `Cannot listen on ${host}:${port}: another process has the port, or HOST is no address of this machine. Set PORT or HOST.`,
    );
  }
  const taken = us_socket_local_port(first as never);
  const gate = new Gate(first, () => open(taken));
  const stopWatching = reserve === undefined ? null : watchDescriptors(app, gate, reserve);
  return {
    port: taken,
    url: `http://${host.includes(":") ? `[${host}]` : host}:${taken}`,
    close() {
      stopWatching?.();
      gate.close();
    },
  };
}

/** The port, which can be closed and opened again. */
class Gate {
  #socket: us_listen_socket | false;
  readonly #open: () => Promise<us_listen_socket | false>;
  #isOpening = false;

  constructor(socket: us_listen_socket, open: () => Promise<us_listen_socket | false>) {
    this.#socket = socket;
    this.#open = open;
  }

  get isOpen(): boolean {
    return this.#socket !== false;
  }

  close(): void {
    this.#isOpening = false;
    if (this.#socket) us_listen_socket_close(this.#socket);
    this.#socket = false;
  }

  /** Where the port cannot be opened, nothing changes. */
  async open(): Promise<void> {
    if (this.#isOpening || this.#socket) return;
    this.#isOpening = true;
    const socket = await this.#open();
    if (this.#isOpening) this.#socket = socket;
    else if (socket) us_listen_socket_close(socket);
    this.#isOpening = false;
  }
}

/** Closes the gate while only reserved descriptors are left. @returns the function that ends it */
function watchDescriptors(app: TemplatedApp, gate: Gate, { descriptors, logger }: Reserve): () => void {
  const limit = readDescriptorLimit();
  if (limit === null) return () => undefined;
  const reserved = Math.min(descriptors, Math.floor(limit * MAX_RESERVED_SHARE));
  let warnedAt = Number.NEGATIVE_INFINITY;

  function isFree(): boolean {
    if (isNextBelow((limit as number) - reserved)) return true;
    if (gate.isOpen && performance.now() - warnedAt > SILENCE_MS) {
      warnedAt = performance.now();
      logger.warn({ limit, reserved }, "file descriptors run out: connections are taken only as others end");
    }
    gate.close();
    return false;
  }

  // uWebSockets.js takes all connections that wait in one go, unless the port is closed meanwhile.
  const onConnection: Parameters<TemplatedApp["filter"]>[0] = (_res, change) => {
    if (change === 1) isFree();
  };
  app.filter(onConnection);
  const timer = setInterval(() => {
    if (isFree()) void gate.open(); // never rejects
  }, CHECK_MS).unref();
  return () => clearInterval(timer);
}
