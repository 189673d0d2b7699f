import { z } from "zod";
import type { BriefAck } from "./brief-ack.ts";
import { doc } from "./doc.ts";
import { Cut } from "./heartbeat.ts";
import { FileProgress } from "./progress.ts";
import { WireError } from "./wire-error.ts";

/*
 * The schemas of acks, for the documents that describe the wire. The server makes the acks, and does not parse them.
 */

const ok = z.literal(true).meta(doc("The call succeeded.", true));

/** The ack of a call that succeeded, with these fields. */
export function okAck<S extends z.ZodRawShape>(fields: S) {
  return z.object({ ok, ...fields });
}

export const Done = okAck({}).meta({ id: "Done", ...doc("The call succeeded; there is nothing more to tell.") });

export const Refused = z
  .object({ ok: z.literal(false).meta(doc("The call was refused.", false)), error: WireError })
  .meta({ id: "Refused", ...doc("A call that was refused changed nothing.") });

const nextBeatMs = z.number().meta(doc("When the server wants the next regular beat, in ms after this one.", 10_000));
const cut = z
  .array(Cut)
  .optional()
  .meta(doc("What of the beat does not count; absent where all of it does.", ["budget" as const]));

export const HeartbeatAck = z
  .object({ ok: ok.meta(doc("The beat is durable.", true)), progress: FileProgress, nextBeatMs, cut })
  .meta({ id: "HeartbeatAck", ...doc("The beat is stored for good, and this is the progress after it.") });

export const BriefHeartbeatAck = z
  .object({
    ok: ok.meta(doc("The beat is durable.", true)),
    version: z.number().meta(doc("The version of the progress now.", 9)),
    base: z
      .number()
      .optional()
      .meta(doc("The version that the beat was added to. Absent: the beat changed nothing.", 5)),
    laterMs: z
      .number()
      .optional()
      .meta(doc("How much later the new `lastWatched` is than that of `base`, in ms.", 4012)),
    resumeAt: z.number().optional().meta(doc("Where to resume, in seconds; absent: 2 s before the position.", 0)),
    nextBeatMs,
    cut,
  })
  .meta({
    id: "BriefHeartbeatAck",
    ...doc('The beat is stored for good; the player derives the rest. Only with `acks: "brief"`.', {
      ok: true as const,
      version: 9,
      base: 5,
      laterMs: 4012,
      nextBeatMs: 10_000,
    }),
  }) satisfies z.ZodType<BriefAck>;
