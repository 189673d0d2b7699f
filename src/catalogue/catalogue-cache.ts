import type { Pool, PoolClient } from "../db/pool.ts";
import type { CourseFacts, FileFacts, LessonFacts } from "./catalogue.ts";
import { FactCache } from "./fact-cache.ts";

/*
 * The catalogue's facts, for the path of a heartbeat and for rights: one cache a process. Facts may be outdated: the
 * writer of heartbeats has PostgreSQL compare `catalogueVersion` with the course's before it writes.
 * A `catalogue` notification makes the process forget the course; a gap in listening makes it forget everything.
 */

/** Past this many courses their versions are forgotten, and their files are read again. */
const MAX_COURSES = 100_000;
/** After a gap in listening the catalogue may be behind for so long: an operator who puts lost courses again needs a while. */
const SETTLE_MS = 60_000;
/** Tells players of unknown files meanwhile when to send their beats again. */
const SETTLING_RETRY_MS = 5000;

export class CatalogueCache {
  readonly #pool: Pool;
  readonly #files = new FactCache<FileFacts>((ids) => this.#readFiles(this.#pool, ids));
  readonly #courses = new FactCache<CourseFacts>((ids) => this.#readCourses(ids));
  readonly #lessons = new FactCache<LessonFacts>((ids) => this.#readLessons(ids));
  /** By course, the highest catalogue version that any of its files was read with. */
  readonly #versions = new Map<string, number>();
  /** Until then a file that is unknown may be one that the database is yet to be told of. */
  #settledAt = Number.NEGATIVE_INFINITY;

  constructor({ pool }: { pool: Pool }) {
    this.#pool = pool;
  }

  /**
   * The cached facts of a file; null if the catalogue has no such file. Undefined if the file must be read first, also
   * because it was cached under an older catalogue version than another file of its course.
   */
  peekFile(fileId: string): FileFacts | null | undefined {
    const file = this.#files.peek(fileId);
    return file && file.catalogueVersion !== this.#versions.get(file.courseId) ? undefined : file;
  }

  async findFile(fileId: string): Promise<FileFacts | null> {
    const known = this.peekFile(fileId);
    return known === undefined ? this.#files.load(fileId) : known;
  }

  /**
   * Reads the files through the given connection, whatever is cached, and caches them. A file that the catalogue does not
   * have is missing in the map. A batch must use this map: another batch may change the cache at any time.
   */
  loadFiles(client: Pool | PoolClient, fileIds: readonly string[]): Promise<Map<string, FileFacts>> {
    return this.#files.keep(fileIds, () => this.#readFiles(client, fileIds));
  }

  /**
   * In how many ms the catalogue may know a file that it does not know now; 0 where the answer is sure: the file was just
   * looked for, and this process has not lost sight of the database lately.
   */
  behindMs(fileId: string): number {
    const leftMs = this.#files.missLeftMs(fileId);
    if (leftMs > 0) return leftMs;
    return performance.now() < this.#settledAt ? SETTLING_RETRY_MS : 0;
  }

  async findCourse(courseId: string): Promise<CourseFacts | null> {
    const known = this.#courses.peek(courseId);
    return known === undefined ? this.#courses.load(courseId) : known;
  }

  async findLesson(lessonId: string): Promise<LessonFacts | null> {
    const known = this.#lessons.peek(lessonId);
    return known === undefined ? this.#lessons.load(lessonId) : known;
  }

  /** Forgets a course, its lessons and its files. */
  forgetCourse(courseId: string): void {
    const isOfCourse = (facts: { courseId: string }) => facts.courseId === courseId;
    for (const facts of [this.#courses, this.#files, this.#lessons]) facts.forget(isOfCourse);
    this.#versions.delete(courseId);
  }

  /** Changes may have been missed. Perhaps another database took over, and lacks what this process knew. */
  forgetAll(): void {
    if (!this.#files.isEmpty) this.#settledAt = performance.now() + SETTLE_MS;
    for (const facts of [this.#courses, this.#files, this.#lessons]) facts.forget(() => true);
    this.#versions.clear();
  }

  async #readFiles(client: Pool | PoolClient, ids: readonly string[]): Promise<Map<string, FileFacts>> {
    const { rows } = await client.query<FileFacts>(
      `SELECT f.id AS "fileId", f.lesson_id AS "lessonId", f.course_id AS "courseId", f.duration_ms AS "durationMs", f.assumed_ms AS "assumedMs", f.counted,
         f.complete_at_ms AS "completeAtMs", coalesce(f.start_ms, 0) AS "startMs", coalesce(f.credits_at_ms, f.duration_ms) AS "endMs",
         c.catalogue_version AS "catalogueVersion"
       FROM files AS f JOIN courses AS c ON c.id = f.course_id WHERE f.id = ANY($1::text[])`,
      [ids],
    );
    if (this.#versions.size > MAX_COURSES) this.#versions.clear();
    for (const { courseId, catalogueVersion } of rows) {
      if (catalogueVersion > (this.#versions.get(courseId) ?? -1)) this.#versions.set(courseId, catalogueVersion);
    }
    return new Map(rows.map((row) => [row.fileId, row]));
  }

  async #readCourses(ids: string[]): Promise<Map<string, CourseFacts>> {
    const { rows } = await this.#pool.query<CourseFacts>(
      `SELECT id AS "courseId", title, instructor_id AS "instructorId", accept_reported AS "acceptReported"
       FROM courses WHERE id = ANY($1::text[])`,
      [ids],
    );
    return new Map(rows.map((row) => [row.courseId, row]));
  }

  async #readLessons(ids: string[]): Promise<Map<string, LessonFacts>> {
    const { rows } = await this.#pool.query<LessonFacts>(
      `SELECT id AS "lessonId", course_id AS "courseId" FROM lessons WHERE id = ANY($1::text[])`,
      [ids],
    );
    return new Map(rows.map((row) => [row.lessonId, row]));
  }
}
