import type { CourseProgressRow } from "../protocol/progress.ts";
import type { Session } from "./session.ts";

/** A course with its lessons and files. */
export interface Course {
  id: string;
  title: string;
  lessons: { id: string; title: string; files: CourseFile[] }[];
}

export interface CourseFile {
  id: string;
  title: string;
  durationSeconds?: number | null;
}

export interface CourseSummary {
  id: string;
  title: string;
}

/** A failed call; the message is a sentence for the user. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** The server's description of a failure (RFC 9457). */
interface Problem {
  title?: string;
  detail?: string;
}

/** More items than a user looks through. */
const MAX_ITEMS = 1000;

interface CallOptions {
  token?: string;
  body?: object;
  /** By default GET without a body, and POST with one. */
  method?: "POST" | "PATCH" | "DELETE";
}

/** @throws ApiError */
export async function call<T>(path: string, options: CallOptions = {}): Promise<T> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (options.token) headers.authorization = `Bearer ${options.token}`;
  if (options.body) headers["content-type"] = "application/json";
  const response = await fetch(`.${path}`, {
    method: options.method ?? (options.body ? "POST" : "GET"),
    headers,
    ...(options.body ? { body: JSON.stringify(options.body) } : {}),
  }).catch(() => {
    throw new ApiError(0, "The server cannot be reached. Check the connection and try again.");
  });
  const answer = (await response.json().catch(() => ({}))) as T & Problem;
  if (!response.ok) throw new ApiError(response.status, toSentence(response.status, answer));
  return answer;
}

function toSentence(status: number, { title, detail }: Problem): string {
  const text = detail ?? title ?? `The server answered with ${status}`;
  return /[.!?]$/.test(text) ? text : `${text}.`;
}

export function signInToDemo(as: "learner" | "instructor"): Promise<Session> {
  return call("/v1/demo/sign-in", { body: { as } });
}

export function signIn(email: string, password: string): Promise<Session> {
  return call("/v1/auth/login", { body: { email, password } });
}

/**
 * Loads a list page by page, up to 1,000 items: the user's own, for an admin everybody's.
 * @throws ApiError
 */
export async function loadOwn<Item, Name extends string>(name: Name, { token, user }: Session): Promise<Item[]> {
  const items: Item[] = [];
  const query = new URLSearchParams({ limit: "200", ...(user.role === "admin" ? {} : { mine: "true" }) });
  for (;;) {
    const page = await call<Record<Name, Item[]> & { next?: string }>(`/v1/${name}?${query}`, { token });
    items.push(...page[name]);
    if (page.next === undefined || items.length >= MAX_ITEMS) return items;
    query.set("after", page.next);
  }
}

/** The courses whose learners this user may see. */
export function loadCourses(session: Session): Promise<CourseSummary[]> {
  return loadOwn("courses", session);
}

export function loadCourse(token: string, courseId: string): Promise<Course> {
  return call(`/v1/courses/${encodeURIComponent(courseId)}`, { token });
}

export interface LearnersPage {
  learners: CourseProgressRow[];
  next?: string;
}

export function loadLearners(token: string, courseId: string, after?: string): Promise<LearnersPage> {
  const query = after === undefined ? "" : `?after=${encodeURIComponent(after)}`;
  return call(`/v1/courses/${encodeURIComponent(courseId)}/learners${query}`, { token });
}
