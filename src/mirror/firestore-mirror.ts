import type { DocumentReference, Query, QueryDocumentSnapshot } from "firebase-admin/firestore";
import { fromDocumentId, toDocumentId } from "./document-id.ts";
import type { FirestoreConnection } from "./firestore.ts";
import { type MirroredRow, toDocument, toMirroredRow } from "./mirrored-row.ts";

/*
 * Reads and writes the documents of the mirror: `users/{userId}/progress/{fileId}`, one for each row of user_progress, and
 * `playhead_deleted_users/{hash}`, one for each row of deleted_users.
 */

const DELETIONS = "playhead_deleted_users";

/** The most writes that Firestore takes in one commit. */
export const BATCH_SIZE = 500;

export interface MirrorKey {
  userId: string;
  fileId: string;
}

/** A row as it is now; null where it was deleted. */
export interface MirrorChange extends MirrorKey {
  row: MirroredRow | null;
}

/** A row of deleted_users. */
export interface MirroredDeletion {
  /** Of the user's id, in hex. */
  hash: string;
  /** The salts of the database, separated by commas. */
  salts: string;
  deletedAt: string;
  epoch: number;
  returnedAt: string | null;
}

export interface MirrorPage {
  rows: MirroredRow[];
  /** How many documents of the page Playhead did not write. */
  foreign: number;
}

export class FirestoreMirror {
  readonly #connection: FirestoreConnection;

  constructor(connection: FirestoreConnection) {
    this.#connection = connection;
  }

  get projectId(): string {
    return this.#connection.projectId;
  }

  /** Writes all changes or none; at most BATCH_SIZE. */
  async commit(changes: readonly MirrorChange[]): Promise<void> {
    const { db, makeTimestamp } = this.#connection;
    // The library would try a batch again for ten minutes, so it could arrive after a later one. A transaction that
    // reads nothing is the same commit, tried once.
    await db.runTransaction(
      async (batch) => {
        for (const change of changes) {
          const document = this.#document(change);
          if (change.row === null) batch.delete(document);
          else batch.set(document, { ...toDocument(change.row, makeTimestamp) });
        }
      },
      { maxAttempts: 1 },
    );
  }

  /** Writes deletions of users; at most BATCH_SIZE. */
  async commitDeletions(deletions: readonly MirroredDeletion[]): Promise<void> {
    const { db } = this.#connection;
    await db.runTransaction(
      async (batch) => {
        for (const deletion of deletions) batch.set(db.collection(DELETIONS).doc(deletion.hash), { ...deletion });
      },
      { maxAttempts: 1 },
    );
  }

  /** All deletions of users. */
  async readDeletions(): Promise<MirroredDeletion[]> {
    const { docs } = await this.#connection.db.collection(DELETIONS).get();
    return docs.map((document) => document.data() as MirroredDeletion);
  }

  /** The version that the mirror has of each key; null where it has no document. */
  async versionsOf(keys: readonly MirrorKey[]): Promise<(number | null)[]> {
    if (keys.length === 0) return [];
    const documents = keys.map((key) => this.#document(key));
    const snapshots = await this.#connection.db.getAll(...documents, { fieldMask: ["format", "version"] });
    return snapshots.map((snapshot) => {
      const version: unknown = snapshot.get("version");
      return typeof version === "number" ? version : null;
    });
  }

  /** The row of one key; null where the mirror has none. */
  async readFile(key: MirrorKey): Promise<MirroredRow | null> {
    const snapshot = await this.#document(key).get();
    return toMirroredRow(snapshot.data() ?? {});
  }

  /** All rows of a user. */
  async readUser(userId: string): Promise<MirroredRow[]> {
    const { docs } = await this.#progressOf(userId).get();
    return docs.map((document) => toMirroredRow(document.data())).filter((row) => row !== null);
  }

  /** All rows, in the order of the names of their documents. */
  async *pages(): AsyncGenerator<MirrorPage> {
    const { db, documentId } = this.#connection;
    let query: Query = db.collectionGroup("progress").orderBy(documentId()).limit(BATCH_SIZE);
    for (;;) {
      const { docs } = await query.get();
      const rows = docs.map(toOwnRow).filter((row) => row !== null);
      yield { rows, foreign: docs.length - rows.length };
      const last = docs.at(-1);
      if (docs.length < BATCH_SIZE || last === undefined) return;
      query = query.startAfter(last);
    }
  }

  /** Whether the mirror has no row. */
  async isEmpty(): Promise<boolean> {
    for await (const { rows } of this.pages()) if (rows.length > 0) return false;
    return true;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  #progressOf(userId: string) {
    return this.#connection.db.collection("users").doc(toDocumentId(userId)).collection("progress");
  }

  #document({ userId, fileId }: MirrorKey): DocumentReference {
    return this.#progressOf(userId).doc(toDocumentId(fileId));
  }
}

/**
 * Null for a document that is not where the mirror puts its row: other programs may have collections of the same name,
 * and somebody may have copied a document by hand.
 */
function toOwnRow(document: QueryDocumentSnapshot): MirroredRow | null {
  const row = toMirroredRow(document.data());
  const [users, user, , file, ...deeper] = document.ref.path.split("/");
  const isHere =
    users === "users" &&
    deeper.length === 0 &&
    fromDocumentId(user ?? "") === row?.userId &&
    fromDocumentId(file ?? "") === row.fileId;
  return isHere ? row : null;
}
