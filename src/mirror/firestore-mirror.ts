import type { DocumentReference, Query, QueryDocumentSnapshot } from "firebase-admin/firestore";
import { fromDocumentId, toDocumentId } from "./document-id.ts";
import type { FirestoreConnection } from "./firestore.ts";
import { type MirroredRow, toDocument, toMirroredRow } from "./mirrored-row.ts";

/*
 * What is in Firestore: `users/{userId}/progress/{fileId}`, one document a row of user_progress.
 */

/** Writes in one commit at the most: what Firestore takes. */
export const BATCH_SIZE = 500;

export interface MirrorKey {
  userId: string;
  fileId: string;
}

/** The row as it is now, or null where there is none any more. */
export interface MirrorChange extends MirrorKey {
  row: MirroredRow | null;
}

export interface MirrorPage {
  rows: MirroredRow[];
  /** Documents that Playhead did not write. */
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

  /** All of them or none, at most BATCH_SIZE. */
  async commit(changes: readonly MirrorChange[]): Promise<void> {
    const { db, makeTimestamp } = this.#connection;
    // A batch would be tried again by the library for ten minutes, and could arrive after a later one. A transaction that
    // reads nothing is the same single commit, once.
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

  /** The version of each as the mirror has it; null where it has none. */
  async versionsOf(keys: readonly MirrorKey[]): Promise<(number | null)[]> {
    if (keys.length === 0) return [];
    const documents = keys.map((key) => this.#document(key));
    const snapshots = await this.#connection.db.getAll(...documents, { fieldMask: ["format", "version"] });
    return snapshots.map((snapshot) => {
      const version: unknown = snapshot.get("version");
      return typeof version === "number" ? version : null;
    });
  }

  async readFile(key: MirrorKey): Promise<MirroredRow | null> {
    const snapshot = await this.#document(key).get();
    return toMirroredRow(snapshot.data() ?? {});
  }

  async readUser(userId: string): Promise<MirroredRow[]> {
    const { docs } = await this.#progressOf(userId).get();
    return docs.map((document) => toMirroredRow(document.data())).filter((row) => row !== null);
  }

  /** Everything, in the order of the documents' names. */
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

/** Others may have collections of the same name elsewhere, and what was copied by hand is not where it says it is. */
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
