import type { Firestore, Timestamp } from "firebase-admin/firestore";

/*
 * Connects to Firestore with the credentials that Google's libraries find. firebase-admin is loaded only when a
 * connection is opened: loading takes a second, and most installations have no mirror.
 */

/** The limit for one call, with all tries of the library. */
const DEADLINE_MS = 10_000;
const SERVICE = "google.firestore.v1.Firestore";
const METHODS = ["Commit", "BatchGetDocuments", "RunQuery"];

export interface FirestoreConnection {
  db: Firestore;
  projectId: string;
  makeTimestamp: (seconds: number, nanos: number) => Timestamp;
  /** The field that orders documents by their names. */
  documentId: () => FirebaseFirestore.FieldPath;
  close(): Promise<void>;
}

let opened = 0;

/** Makes a connection, which is opened by the first call. */
export async function openFirestore(options: { projectId: string; deadlineMs?: number }): Promise<FirestoreConnection> {
  const { projectId, deadlineMs = DEADLINE_MS } = options;
  const [{ deleteApp, initializeApp }, { FieldPath, getFirestore, Timestamp }] = await Promise.all([
    import("firebase-admin/app"),
    import("firebase-admin/firestore"),
  ]);
  // The app that verifies tokens has another name.
  opened += 1;
  const app = initializeApp({ projectId }, `playhead-mirror-${opened}`);
  const db = getFirestore(app);
  db.settings({
    // By default a call may take a minute, and after an outage the library waits two minutes before it connects again.
    clientConfig: {
      interfaces: {
        [SERVICE]: { methods: Object.fromEntries(METHODS.map((name) => [name, { timeout_millis: deadlineMs }])) },
      },
    },
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 5000,
  });
  return {
    db,
    projectId,
    makeTimestamp: (seconds, nanos) => new Timestamp(seconds, nanos),
    documentId: () => FieldPath.documentId(),
    async close() {
      await db.terminate();
      await deleteApp(app);
    },
  };
}
