import type { CourseTree } from "../../src/protocol/course.ts";
import { mintToken } from "./tokens.ts";

const ANSWER_MS = 30_000;

/** Puts a course, as an admin unless a token says otherwise. @throws Error with the status where it is refused */
export async function putCourse(url: string, courseId: string, tree: CourseTree, token?: string): Promise<void> {
  const response = await fetch(`${url}/v1/courses/${encodeURIComponent(courseId)}`, {
    method: "PUT",
    signal: AbortSignal.timeout(ANSWER_MS),
    headers: {
      authorization: `Bearer ${token ?? (await mintToken("root", "admin"))}`,
      "content-type": "application/json",
    },
    body: JSON.stringify(tree),
  });
  if (!response.ok) throw new Error(`PUT of ${courseId}: ${response.status} ${await response.text()}`);
}

/** Reads a figure of `/metrics`, summed over the label sets that contain `labels`; 0 where nothing was counted. */
export async function readMetric(url: string, name: string, labels = ""): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return text
    .split("\n")
    .filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(labels))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}
