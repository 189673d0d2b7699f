/*
 * Ids as names of Firestore documents. Firestore forbids `/`, the names `.` and `..`, and names such as `__x__`; so `/`
 * and `%` are written as `%2F` and `%25`, and the first character of a forbidden name as its code. No two ids meet.
 * https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
 */

export function toDocumentId(id: string): string {
  const name = id.replace(/[%/]/g, toCode);
  return name === "." || name === ".." || /^__[\s\S]*__$/.test(name) ? toCode(name.charAt(0)) + name.slice(1) : name;
}

export function fromDocumentId(name: string): string {
  return name.replace(/%([0-9A-F]{2})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)));
}

function toCode(character: string): string {
  return `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`;
}
