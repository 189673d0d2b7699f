import type { Context } from "hono";
import { AppError } from "../../errors.ts";
import { Bulkhead } from "../../limits/bulkhead.ts";
import type { CourseTree } from "../../protocol/course.ts";
import type { Bearer } from "../bearer.ts";
import type { RouterTypes } from "../router.ts";
import { parseCourse } from "./parse-course.ts";

/** A body up to this length is a call as any other. A longer one counts as one call for every so many bytes. */
const BYTES_PER_CALL = 64 * 1024;
/** How many long bodies of one user are read at once. */
const READ_PER_USER = 2;

/** Reads and checks the course in the request's body. @throws AppError `bad_request`, `rate_limited` */
export type ReadCourse = (c: Pick<Context<RouterTypes>, "req" | "var">) => Promise<CourseTree>;

/** Makes the function. Long bodies of one user wait for each other, and of all users one is parsed at a time. */
export function createReadCourse({ charge }: Pick<Bearer, "charge">): ReadCourse {
  const reading = new Bulkhead({ perKey: READ_PER_USER });
  const parsing = new Bulkhead({ perKey: 1, total: 1 });

  return async (c) => {
    assertJson(c);
    const { caller } = c.var;
    const header = c.req.header("content-length");
    const announced = header === undefined ? null : Number(header);
    if (announced !== null && announced <= BYTES_PER_CALL) return parseCourse(parseJson(await c.req.text()));

    if (announced !== null) await charge(caller, toFurtherCalls(announced));
    // No two bodies are the same work.
    const name = crypto.randomUUID();
    return reading.run(caller.userId, name, async () => {
      const bytes = await c.req.arrayBuffer();
      if (announced === null) await charge(caller, toFurtherCalls(bytes.byteLength));
      return parsing.run(caller.userId, name, () => parseCourse(parseJson(new TextDecoder().decode(bytes))));
    });
  };
}

function toFurtherCalls(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / BYTES_PER_CALL)) - 1;
}

function assertJson(c: Pick<Context<RouterTypes>, "req">): void {
  if (/^application\/([\w.-]+\+)?json *(;|$)/i.test(c.req.header("content-type")?.trim() ?? "")) return;
  const message = "This call does not take a body of this type: send JSON, with `content-type: application/json`.";
  throw new AppError("bad_request", message, { status: 415 });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AppError("bad_request", "The body is not JSON.", { cause });
  }
}
