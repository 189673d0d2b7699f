/*
 * Turns ids into names of Firestore documents and back. Firestore forbids `/`, the names `.` and `..`, and names like
 * `__x__`. So `/` is written `%2F`, `%` is written `%25`, and the first character of a forbidden name is written as its
 * code. Different ids get different names.
 * https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
 */

/** The name of the document of this id. */
export function toDocumentId(id: string): string {
  const name = id.replace(/[%/]/g, toCode);
  return name === "." || name === ".." || /^__[\s\S]*__$/.test(name) ? toCode(name.charAt(0)) + name.slice(1) : name;
}

/** The id that `toDocumentId` gave this name. */
export function fromDocumentId(name: string): string {
  return name.replace(/%([0-9A-F]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}

function toCode(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}
