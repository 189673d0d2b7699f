import type { Firestore, Timestamp } from "firebase-admin/firestore";

/*
 * The connection to Firestore, by the credentials that Google's libraries find. firebase-admin is loaded here, and only
 * when somebody asks: it takes a second, and most installations do without it.
 */

/** How long one call may take, tries of the library's own included. */
const DEADLINE_MS = 10_000;
const SERVICE = "google.firestore.v1.Firestore";
const METHODS = ["Commit", "BatchGetDocuments", "RunQuery"];

export interface FirestoreConnection {
  db: Firestore;
  projectId: string;
  makeTimestamp: (seconds: number, nanos: number) => Timestamp;
  /** Orders documents by their names. */
  documentId: () => FirebaseFirestore.FieldPath;
  close(): Promise<void>;
}

let opened = 0;

/** Nothing is sent yet. */
export async function openFirestore(options: { projectId: string; deadlineMs?: number }): Promise<FirestoreConnection> {
  const { projectId, deadlineMs = DEADLINE_MS } = options;
  const [{ deleteApp, initializeApp }, { FieldPath, getFirestore, Timestamp }] = await Promise.all([
    import("firebase-admin/app"),
    import("firebase-admin/firestore"),
  ]);
  // A name of its own: whoever verifies tokens has another app.
  opened += 1;
  const app = initializeApp({ projectId }, `playhead-mirror-${opened}`);
  const db = getFirestore(app);
  db.settings({
    // The library waits for a minute, and after an outage for two before it connects again.
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
