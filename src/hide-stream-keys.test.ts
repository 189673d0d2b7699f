import { describe, expect, it } from "vitest";
import { hideStreamKeys } from "./hide-stream-keys.ts";
import { makeStreamKey } from "./streams/keys/stream-key.ts";

const { streamKey, prefix } = makeStreamKey();

describe("a text from outside", () => {
  it.each([
    [streamKey, `${prefix}…`],
    [`live/${streamKey}`, `live/${prefix}…`],
    [`rtmp://h/live/${streamKey}?a=b&key=${streamKey}`, `rtmp://h/live/${prefix}…?a=b&key=${prefix}…`],
    [JSON.stringify({ [streamKey]: streamKey.slice(0, 20) }), JSON.stringify({ [`${prefix}…`]: `${prefix}…` })],
    [`${streamKey}x\n`, `${prefix}…\n`],
  ])("keeps only the prefix of each key in it", (text, shown) => {
    expect(hideStreamKeys(text)).toBe(shown);
  });

  it.each(["", "live", prefix, `${prefix}…`, "phk_", "phk_short", "a phk-key"])(
    "stays as it is if it contains no key: %j",
    (text) => {
      expect(hideStreamKeys(text)).toBe(text);
    },
  );
});
