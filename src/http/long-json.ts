import type { Context, TypedResponse } from "hono";
import { isLong, toJsonSlices } from "../protocol/json-slices.ts";
import type { RouterTypes } from "./router.ts";

/**
 * Answers 200 with a value as JSON. The JSON of a long value is made in turns with other work, and goes out as fast as the
 * client takes it.
 */
export async function longJson<T extends object>(
  c: Context<RouterTypes>,
  value: T,
): Promise<Response & TypedResponse<T, 200, "json">> {
  const response = isLong(value)
    ? c.body(toStream(await toJsonSlices(value)), 200, { "content-type": "application/json" })
    : c.json(value as object, 200);
  return response as Response & TypedResponse<T, 200, "json">;
}

function toStream(slices: string[]): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const rest = slices[Symbol.iterator]();
  return new ReadableStream({
    pull(controller) {
      const next = rest.next();
      if (next.done) controller.close();
      else controller.enqueue(encoder.encode(next.value));
    },
  });
}
