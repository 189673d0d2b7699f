import { GatheredLoads } from "../db/gathered-loads.ts";
import type { Pool } from "../db/pool.ts";
import type { CourseFacts, FileFacts } from "./catalogue.ts";

/*
 * File → lesson, course, duration, for the path of a heartbeat. A cached fact only validates: the statement that
 * writes joins the catalogue itself. Entries go when a `catalogue` notification names their course, and all of them
 * when notifications may have been missed.
 */

/** Misses are kept as well, so that a client which asks for files that never were does not ask the database. */
const MAX_ENTRIES = 100_000;
const MISS_TTL_MS = 5000;

interface LessonFacts {
  lessonId: string;
  courseId: string;
}

export class CatalogueCache {
  readonly #pool: Pool;
  readonly #files = new FactCache<FileFacts>((ids) => this.#loadFiles(ids));
  readonly #courses = new FactCache<CourseFacts>((ids) => this.#loadCourses(ids));
  readonly #lessons = new FactCache<LessonFacts>((ids) => this.#loadLessons(ids));

  constructor({ pool }: { pool: Pool }) {
    this.#pool = pool;
  }

  findFile(fileId: string): Promise<FileFacts | null> {
    return this.#files.find(fileId);
  }

  /** What is known of the file without asking the database; undefined where nothing is. */
  peekFile(fileId: string): FileFacts | null | undefined {
    return this.#files.peek(fileId);
  }

  findCourse(courseId: string): Promise<CourseFacts | null> {
    return this.#courses.find(courseId);
  }

  findLesson(lessonId: string): Promise<LessonFacts | null> {
    return this.#lessons.find(lessonId);
  }

  /** Forgets a course and what is in it. */
  forgetCourse(courseId: string): void {
    this.#courses.forget((course) => course.courseId === courseId);
    this.#files.forget((file) => file.courseId === courseId);
    this.#lessons.forget((lesson) => lesson.courseId === courseId);
  }

  forgetAll(): void {
    for (const cache of [this.#files, this.#courses, this.#lessons]) cache.forget(() => true);
  }

  async #loadFiles(ids: string[]): Promise<[string, FileFacts][]> {
    const { rows } = await this.#pool.query<FileFacts>(
      `SELECT id AS "fileId", lesson_id AS "lessonId", course_id AS "courseId", duration_ms AS "durationMs"
       FROM files WHERE id = ANY($1::text[])`,
      [ids],
    );
    return rows.map((row) => [row.fileId, row]);
  }

  async #loadCourses(ids: string[]): Promise<[string, CourseFacts][]> {
    const { rows } = await this.#pool.query<CourseFacts>(
      `SELECT id AS "courseId", title, instructor_id AS "instructorId", accept_reported AS "acceptReported"
       FROM courses WHERE id = ANY($1::text[])`,
      [ids],
    );
    return rows.map((row) => [row.courseId, row]);
  }

  async #loadLessons(ids: string[]): Promise<[string, LessonFacts][]> {
    const { rows } = await this.#pool.query<LessonFacts>(
      `SELECT id AS "lessonId", course_id AS "courseId" FROM lessons WHERE id = ANY($1::text[])`,
      [ids],
    );
    return rows.map((row) => [row.lessonId, row]);
  }
}

type Known<T> = { facts: T | null; until: number };

class FactCache<T> {
  readonly #loads: GatheredLoads<Map<string, T>>;
  readonly #known = new Map<string, Known<T>>();
  /** Raised by every forgetting: what was read before it is not kept. */
  #generation = 0;

  constructor(load: (ids: string[]) => Promise<[string, T][]>) {
    this.#loads = new GatheredLoads(async (ids) => {
      const generation = this.#generation;
      const loaded = new Map(await load(ids));
      if (generation === this.#generation) this.#keep(ids, loaded);
      return loaded;
    });
  }

  peek(id: string): T | null | undefined {
    const known = this.#known.get(id);
    if (known === undefined || known.until < performance.now()) return undefined;
    return known.facts;
  }

  async find(id: string): Promise<T | null> {
    const known = this.peek(id);
    if (known !== undefined) return known;
    return (await this.#loads.load(id)).get(id) ?? null;
  }

  #keep(ids: string[], loaded: Map<string, T>): void {
    if (this.#known.size + ids.length > MAX_ENTRIES) this.#known.clear();
    for (const id of ids) {
      const facts = loaded.get(id);
      if (facts === undefined) this.#known.set(id, { facts: null, until: performance.now() + MISS_TTL_MS });
      else this.#known.set(id, { facts, until: Number.POSITIVE_INFINITY });
    }
  }

  forget(matches: (facts: T) => boolean): void {
    this.#generation += 1;
    for (const [id, { facts }] of this.#known) {
      if (facts === null || matches(facts)) this.#known.delete(id);
    }
  }
}
