/**
 * What /openapi.json and /asyncapi.json tell about a schema: a sentence, and examples that pass the schema. An object
 * without examples of its own is shown with those of its fields (`with-examples.ts`).
 *
 * `.meta(doc(…))` comes last: a check that is added behind it makes a new schema, and `.optional()` a new one around it.
 */
export function doc<T>(description: string, ...examples: T[]): { description: string; examples?: T[] } {
  return examples.length === 0 ? { description } : { description, examples };
}
