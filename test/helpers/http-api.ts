import { pino } from "pino";
import { vi } from "vitest";
import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import type { Catalogue, StoredCourse } from "../../src/catalogue/catalogue.ts";
import { assertOwnCourse, withOwner } from "../../src/catalogue/own-course.ts";
import { AppError } from "../../src/errors.ts";
import { createHttpApi, type HttpParts } from "../../src/http/http-api.ts";
import { createHealth } from "../../src/http/operations/health.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import type { Profiles } from "../../src/people/profiles.ts";
import type { UserData } from "../../src/people/user-data.ts";
import type { SharedProgressService } from "../../src/progress/progress-service.ts";
import type { CourseTree } from "../../src/protocol/course.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";
import { ROLES, type Role } from "../../src/protocol/roles.ts";
import type { OwnStream } from "../../src/protocol/stream.ts";
import type { UserExport } from "../../src/protocol/user-export.ts";
import type { WebhookStore } from "../../src/webhooks/webhook-store.ts";
import type { StatementStore } from "../../src/xapi/statement-store.ts";
import { fakeGate, fakeStreams } from "./fake-streams.ts";

/*
 * The HTTP API with fakes in place of the catalogue, progress and streams, to test the routes alone.
 */

export const tokens = createBuiltinTokens({ secret: "x".repeat(40), ttlSeconds: 60 });
export const TREE: CourseTree = {
  title: "Ocean",
  lessons: [{ id: "l1", title: "One", files: [{ id: "f1", title: "File" }] }],
};
export const FILE: FileProgress = {
  userId: "alice",
  fileId: "f1",
  lessonId: "l1",
  courseId: "c1",
  position: 7,
  resumeAt: 5,
  duration: 60,
  watched: [[0, 7]],
  watchedSeconds: 7,
  watchTimeSeconds: 7,
  percentage: 11.66,
  completed: false,
  lastWatched: "2026-11-01T10:00:00.000Z",
  epoch: 0,
  version: 3,
};
export const ROW = {
  userId: "alice",
  courseId: "c1",
  totalFiles: 2,
  completedFiles: 1,
  totalDuration: 120,
  watchedDuration: 67,
  percentage: 55,
  lastWatched: "2026-11-01T09:00:00.000Z",
  lastUpdated: "2026-11-01T10:00:00.000Z",
  version: 4,
};
export const LEGACY = {
  userId: "alice",
  fileId: "f1",
  progressSeconds: 120,
  progressPercentage: 50,
  completed: false,
  lastWatched: "2026-11-01T10:00:00.000Z",
};

/** The secret that every hook of a media server accepts. */
export const HOOK_SECRET = "a-hook-secret";

/** A catalogue that keeps its courses in memory. */
function fakeCatalogue(courses: Record<string, CourseTree> = {}): Catalogue {
  const stored = new Map(Object.entries(courses));
  const toStored = (courseId: string): StoredCourse => {
    const tree = stored.get(courseId);
    if (tree === undefined) throw new AppError("not_found", "no such course");
    return { courseId, tree, etag: `"${tree.title}"` };
  };
  return {
    async findFile(fileId) {
      for (const [courseId, tree] of stored) {
        const lesson = tree.lessons.find(({ files }) => files.some(({ id }) => id === fileId));
        if (lesson !== undefined) return { fileId, lessonId: lesson.id, courseId };
      }
      return null;
    },
    async findCourse(courseId) {
      const tree = stored.get(courseId);
      if (tree === undefined) return null;
      return { courseId, title: tree.title, instructorId: tree.instructorId ?? null, acceptReported: true };
    },
    findLesson: async () => null,
    async put(courseId, given, options) {
      const before = stored.get(courseId);
      const owner = before === undefined ? null : { instructorId: before.instructorId ?? null };
      const tree = options?.by === undefined ? given : withOwner(options.by, given, owner);
      if (options?.ifMatch !== undefined && options.ifMatch !== `"${stored.get(courseId)?.title}"`) {
        throw new AppError("conflict", "changed meanwhile", { status: 412 });
      }
      const created = !stored.has(courseId);
      stored.set(courseId, tree);
      return { created, course: toStored(courseId) };
    },
    get: async (courseId) => toStored(courseId),
    async delete(courseId, options) {
      const { instructorId = null } = toStored(courseId).tree;
      if (options?.by !== undefined) assertOwnCourse(options.by, { instructorId });
      stored.delete(courseId);
    },
    async list({ limit, after, instructorId }) {
      return [...stored]
        .filter(
          ([id, tree]) => id > (after ?? "") && (instructorId === undefined || tree.instructorId === instructorId),
        )
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .slice(0, limit)
        .map(([id, tree]) => ({
          id,
          title: tree.title,
          instructorId: tree.instructorId ?? null,
          lessons: 1,
          files: 1,
          durationSeconds: 0,
        }));
    },
  };
}

function fakeProgress() {
  return {
    contact: vi.fn(),
    takeHeartbeat: vi.fn(),
    heartbeat: vi.fn(),
    heartbeats: vi.fn<SharedProgressService["heartbeats"]>(async (_, beats) =>
      beats.map(() => ({ ok: true as const, progress: FILE, nextBeatMs: 10_000 })),
    ),
    readFile: vi.fn<SharedProgressService["readFile"]>(async () => FILE),
    readCourse: vi.fn<SharedProgressService["readCourse"]>(async () => ({ ...ROW, lessons: [], files: [FILE] })),
    readCourseRow: vi.fn<SharedProgressService["readCourseRow"]>(async () => ROW),
    cutsOf: vi.fn(async () => ({ cutMs: 1500, beats: 2, processes: 1 })),
    learners: vi.fn<SharedProgressService["learners"]>(async () => ({
      learners: [{ ...ROW, name: null }],
      next: "alice",
    })),
    lessonLearners: vi.fn<SharedProgressService["lessonLearners"]>(async () => ({ learners: [] })),
    fileLearners: vi.fn<SharedProgressService["fileLearners"]>(async () => ({ learners: [] })),
    ownFiles: vi.fn<SharedProgressService["ownFiles"]>(async () => ({ files: [] })),
    reset: vi.fn<SharedProgressService["reset"]>(async () => undefined),
    complete: vi.fn<SharedProgressService["complete"]>(async () => undefined),
    uncomplete: vi.fn<SharedProgressService["uncomplete"]>(async () => undefined),
    report: vi.fn<SharedProgressService["report"]>(async () => LEGACY),
    readLegacy: vi.fn<SharedProgressService["readLegacy"]>(async () => LEGACY),
  } satisfies SharedProgressService;
}

type Changes = Partial<Omit<HttpParts, "config">> & {
  config?: Partial<HttpParts["config"]>;
  courses?: Record<string, CourseTree>;
  owned?: Record<string, Partial<OwnStream>>;
};

function toBody(body: unknown): BodyInit {
  if (body instanceof Uint8Array) return new Blob([new Uint8Array(body)]);
  return typeof body === "string" ? body : JSON.stringify(body);
}

/** Profiles that are kept in memory. */
function fakeProfiles(): Profiles {
  const names = new Map<string, string | null>();
  const read = async (userId: string) => ({ userId, name: names.get(userId) ?? null });
  return {
    read,
    put(userId, name) {
      names.set(userId, name);
      return read(userId);
    },
    note: () => undefined,
    forgetUsers: () => undefined,
    stop: async () => undefined,
  };
}

/** Makes the API, its fakes, and `call`, which sends a request with the token of the user that `as` names. */
export function createApi(changes: Changes = {}) {
  const progress = fakeProgress();
  const metrics = createMetrics();
  const logged: string[] = [];
  const { courses = { c1: { ...TREE, instructorId: "ines" } }, owned, config, ...parts } = changes;
  const streams = fakeStreams(owned);
  const userData = {
    export: vi.fn<UserData["export"]>(async (userId) => ({ userId }) as UserExport),
    remove: vi.fn<UserData["remove"]>(async () => undefined),
  };
  const gate = fakeGate();
  const api = createHttpApi({
    version: "1.2.3",
    logger: pino({ level: "debug" }, { write: (line: string) => void logged.push(line) }),
    metrics,
    verifyToken: tokens.verify,
    mintToken: tokens.mint,
    accounts: null,
    progress,
    catalogue: fakeCatalogue(courses),
    profiles: fakeProfiles(),
    userData,
    streams,
    publishGate: gate,
    webhooks: {} as WebhookStore,
    xapi: {} as StatementStore,
    health: createHealth({ checks: { database: () => ({ ok: true }) } }),
    ...parts,
    config: {
      PUBLIC_PATH: "",
      ALLOWED_ORIGINS: [],
      TRUST_PROXY: false,
      RATE_LIMIT_BURST: 200,
      RATE_LIMIT_PER_SECOND: 20,
      HOOK_SECRETS: [HOOK_SECRET],
      STREAM_ROLES: [...ROLES],
      demo: false,
      ...config,
    },
  });

  async function call(
    path: string,
    given: { as?: [string, Role]; method?: string; body?: unknown; headers?: Record<string, string> } = {},
  ) {
    const { as, method = given.body === undefined ? "GET" : "POST", body, headers = {} } = given;
    const response = await api.request(
      `http://playhead.test${path}`,
      {
        method,
        ...(body === undefined ? {} : { body: toBody(body) }),
        headers: {
          host: "playhead.test",
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...(as === undefined
            ? {}
            : { authorization: `Bearer ${(await tokens.mint({ userId: as[0], role: as[1] })).token}` }),
          ...headers,
        },
      },
      { remoteAddress: "192.0.2.1" },
    );
    const text = await response.text();
    const isJson = /json/.test(response.headers.get("content-type") ?? "");
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  }
  return { api, call, progress, streams, userData, gate, metrics, logged };
}

export const LEARNER: [string, Role] = ["alice", "learner"];
export const INSTRUCTOR: [string, Role] = ["ines", "instructor"];
export const OTHER: [string, Role] = ["otto", "instructor"];
export const ADMIN: [string, Role] = ["root", "admin"];
