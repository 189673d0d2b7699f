import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromDocumentId, toDocumentId } from "./document-id.ts";

describe("the name of a document", () => {
  it("is the id itself where Firestore takes it", () => {
    for (const id of ["alice", "demo-intro", "a.b", "...", "_x_", "__x", "ünï 😀", "a b\n"])
      expect(toDocumentId(id)).toBe(id);
  });

  it("is never one that Firestore forbids, and leads back to the id", () => {
    const forbidden = fc.constantFrom(
      ".",
      "..",
      "__x__",
      "____",
      "__\n__",
      "/",
      "a/b",
      "%",
      "%2F",
      "%252F",
      "%2E",
      "__/__",
    );
    fc.assert(
      fc.property(fc.oneof(forbidden, fc.string({ unit: "binary", minLength: 1 })), (id) => {
        const name = toDocumentId(id);
        expect(name).not.toMatch(/\/|^\.\.?$|^__[\s\S]*__$/);
        expect(fromDocumentId(name)).toBe(id);
      }),
    );
  });

  it("stays within the 1,500 bytes of Firestore for the longest id", () => {
    for (const character of ["/", "😀", "%"]) {
      expect(Buffer.byteLength(toDocumentId(character.repeat(128)))).toBeLessThanOrEqual(1500);
    }
  });
});
