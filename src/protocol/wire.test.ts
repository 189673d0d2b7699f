import { expectTypeOf, it } from "vitest";
import type { z } from "zod";
import type * as heartbeat from "./heartbeat.ts";
import type * as progress from "./progress.ts";
import type * as wire from "./wire.ts";

it("gives clients exactly the types of the schemas", () => {
  expectTypeOf<z.infer<typeof heartbeat.PlayerState>>().toEqualTypeOf<wire.PlayerState>();
  expectTypeOf<z.infer<typeof heartbeat.Cut>>().toEqualTypeOf<wire.Cut>();
  expectTypeOf<z.infer<typeof heartbeat.Heartbeat>>().toEqualTypeOf<wire.Heartbeat>();
  expectTypeOf<z.infer<typeof progress.FileProgress>>().toEqualTypeOf<wire.FileProgress>();
  expectTypeOf<z.infer<typeof progress.LessonProgress>>().toEqualTypeOf<wire.LessonProgress>();
  expectTypeOf<z.infer<typeof progress.CourseProgressRow>>().toEqualTypeOf<wire.CourseProgressRow>();
  expectTypeOf<z.infer<typeof progress.CourseProgress>>().toEqualTypeOf<wire.CourseProgress>();
});
