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

/** A call that failed, in a sentence for a person. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** What the server says about a failure (RFC 9457). */
interface Problem {
  title?: string;
  detail?: string;
}

/** More than a person picks from a list. */
const MAX_COURSES = 1000;

interface CallOptions {
  token?: string;
  body?: object;
  /** GET without a body and POST with one, unless it says otherwise. */
  method?: "POST" | "PATCH" | "DELETE";
}

/** @throws ApiError */
export async function call<T>(path: string, options: CallOptions = {}): Promise<T> {
  const headers: Record<string, string> = { accept: "application/json" };
  if (options.token) headers.authorization = `Bearer ${options.token}`;
  if (options.body) headers["content-type"] = "application/json";
  const response = await fetch(path, {
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

/** The courses that this person may see into: an instructor's own, all of them for an admin. */
export async function loadCourses({ token, user }: Session): Promise<CourseSummary[]> {
  const courses: CourseSummary[] = [];
  const whose = user.role === "admin" ? "" : "&mine=true";
  let after = "";
  for (;;) {
    const page = await call<{ courses: CourseSummary[]; next?: string }>(`/v1/courses?limit=200${whose}${after}`, {
      token,
    });
    courses.push(...page.courses);
    if (page.next === undefined || courses.length >= MAX_COURSES) return courses;
    after = `&after=${encodeURIComponent(page.next)}`;
  }
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
