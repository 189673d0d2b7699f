import { doc } from "../../protocol/doc.ts";
import { EXAMPLE_STREAM_ID, EXAMPLE_STREAM_KEY, OwnStream, StreamSession } from "../../protocol/stream.ts";
import { nextPage, z } from "../router.ts";

/*
 * The answers about streams. Only the answer that makes a key contains it.
 */

export const StreamAnswer = z
  .object({ stream: OwnStream })
  .meta({ id: "StreamAnswer", ...doc("The stream as it is now.") });
export const KeyAnswer = z
  .object({
    stream: OwnStream,
    streamKey: z.string().meta(doc("The key. It is shown here and never again.", EXAMPLE_STREAM_KEY)),
  })
  .meta({ id: "StreamWithKey", ...doc("The stream, and its new key.") });
export const StreamList = z
  .object({
    streams: z.array(OwnStream).meta(doc("The streams of this page, by id.")),
    next: nextPage(EXAMPLE_STREAM_ID),
  })
  .meta({ id: "StreamList", ...doc("A page of streams.") });
export const SessionList = z
  .object({
    sessions: z.array(StreamSession).meta(doc("The sessions of this page, the newest first.")),
    next: z.number().optional().meta(doc("The `before` of the next page; absent on the last.", 7)),
  })
  .meta({ id: "StreamSessionList", ...doc("A page of the history of a stream.") });

/** Drops every field that the schema does not declare, so that no answer contains more than it should. */
export function toAnswer(stream: OwnStream): OwnStream {
  return OwnStream.parse(stream);
}
