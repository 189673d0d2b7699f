import type { Ajv } from "ajv";
import formats from "ajv-formats";

/** Adds the formats of JSON Schema, as `date-time`. The package's types name its CommonJS module, not its function. */
export const addFormats = formats as unknown as (ajv: Ajv) => Ajv;
