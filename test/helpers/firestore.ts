import { createServer, connect as dial, type Server, type Socket } from "node:net";
import { FirestoreServer, type FirestoreStateDocument } from "@firestore-emulator/server";
import { findFreePort } from "./free-port.ts";

/*
 * An emulated Firestore in this process, reached over gRPC as the real one. The emulator lacks collection groups, the
 * order by name and cursors; they are added here, by the rules of the real Firestore.
 */

export interface TestFirestore {
  /** The value of FIRESTORE_EMULATOR_HOST, which a client reads when it is made. */
  host: string;
  /** The fields of every document, by its path below `documents`. */
  documents(projectId: string): Record<string, Record<string, unknown>>;
  /** The paths that each commit wrote, in the order in which commits arrived. */
  commits: string[][];
  /** The versions of a document, in the order in which they arrived; null where it was deleted. */
  versionsSeen(path: string): (number | null)[];
  /** Breaks every connection, and takes none until `comeBack`. */
  goAway(): Promise<void>;
  comeBack(): Promise<void>;
  stop(): Promise<void>;
}

interface Field {
  value: unknown;
}

interface DocumentJson {
  path: string;
  fields: Record<string, Field>;
  collections: Record<string, CollectionJson>;
}

interface CollectionJson {
  documents: Record<string, DocumentJson>;
}

/** Starts the emulator, and sets FIRESTORE_EMULATOR_HOST until it is stopped. */
export async function startTestFirestore(): Promise<TestFirestore> {
  const emulator = new FirestoreServer();
  const { state } = emulator;
  const emulatorPort = Number(await findFreePort());
  const commits: string[][] = [];
  const seen = new Map<string, (number | null)[]>();

  // The emulator writes the documents of a commit one by one, all with the same date.
  const write = state.writeV1Document.bind(state);
  let commitAt: Date | null = null;
  state.writeV1Document = (date, given) => {
    const path = toPath(given.has_delete ? given.delete : given.update.name);
    if (date !== commitAt) commits.push([]);
    commitAt = date;
    commits.at(-1)?.push(path);
    const version = given.has_delete ? null : Number(given.update.fields.get("version")?.integer_value);
    seen.set(path, [...(seen.get(path) ?? []), version]);
    return write(date, given);
  };

  const allDocuments = (): DocumentJson[] =>
    Object.values(state.toJSON().projects).flatMap((project) =>
      Object.values(project.databases).flatMap((database) =>
        Object.values(database.collections as unknown as Record<string, CollectionJson>).flatMap(listDocuments),
      ),
    );
  const query = state.v1Query.bind(state);
  state.v1Query = (parent, given) => {
    const [from] = given.from;
    if (from?.all_descendants !== true) return query(parent, given);
    const start = given.has_start_at ? String(given.start_at.values[0]?.reference_value) : null;
    const found: FirestoreStateDocument[] = allDocuments()
      .filter(({ path }) => path.startsWith(`${parent}/`) && path.split("/").at(-2) === from.collection_id)
      .map(({ path }) => state.getDocument(path))
      .filter((document) => document.metadata.hasExist)
      .sort((a, b) => compareNames(a.getPath(), b.getPath()))
      .filter((document) => start === null || compareNames(document.getPath(), start) > 0);
    return given.has_limit ? found.slice(0, given.limit.value) : found;
  };

  await emulator.start(emulatorPort);
  const gate = new Gate(emulatorPort);
  await gate.open();
  const host = `127.0.0.1:${gate.port}`;
  const before = process.env.FIRESTORE_EMULATOR_HOST;
  process.env.FIRESTORE_EMULATOR_HOST = host;
  // The emulator needs no credentials. Without this the library looks for a metadata server of Google's.
  process.env.METADATA_SERVER_DETECTION = "none";
  return {
    host,
    commits,
    versionsSeen: (path) => seen.get(path) ?? [],
    documents: (projectId) =>
      Object.fromEntries(
        allDocuments()
          .filter(({ path }) => path.startsWith(`projects/${projectId}/`) && state.getDocument(path).metadata.hasExist)
          .map(({ path, fields }) => [
            toPath(path),
            Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.value])),
          ]),
      ),
    goAway: () => gate.close(),
    comeBack: () => gate.open(),
    async stop() {
      if (before === undefined) delete process.env.FIRESTORE_EMULATOR_HOST;
      else process.env.FIRESTORE_EMULATOR_HOST = before;
      await gate.close();
      emulator.stop();
    },
  };
}

function listDocuments({ documents }: CollectionJson): DocumentJson[] {
  return Object.values(documents).flatMap((document) => [
    document,
    ...Object.values(document.collections).flatMap(listDocuments),
  ]);
}

function toPath(name: string): string {
  return name.split("/documents/").slice(1).join("/documents/");
}

/** Compares names segment by segment, by their bytes. */
function compareNames(a: string, b: string): number {
  const left = a.split("/");
  const right = b.split("/");
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const order = Buffer.compare(Buffer.from(left[i] as string), Buffer.from(right[i] as string));
    if (order !== 0) return order;
  }
  return left.length - right.length;
}

/** A proxy between client and emulator, which can go away while the emulator keeps its documents. */
class Gate {
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  #server: Server | null = null;
  port = 0;

  constructor(target: number) {
    this.#target = target;
  }

  async open(): Promise<void> {
    const server = createServer((socket) => {
      const onward = dial(this.#target, "127.0.0.1");
      for (const [from, to] of [
        [socket, onward],
        [onward, socket],
      ] as const) {
        this.#sockets.add(from);
        from.pipe(to);
        from.on("error", () => to.destroy());
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
      }
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(this.port, "127.0.0.1", resolve);
    });
    this.#server = server;
    this.port = (server.address() as { port: number }).port;
  }

  async close(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    const closed = new Promise((resolve) => (server === null ? resolve(null) : server.close(resolve)));
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
