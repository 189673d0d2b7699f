import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { toTime } from "./format.ts";
import type { NewKey } from "./stream-api.ts";

interface KeyCardProps {
  newKey: NewKey;
  onClose(): void;
}

/** A new key. Only this page holds it: after it is closed, nobody can show the key again. */
export function KeyCard({ newKey: { stream, streamKey }, onClose }: KeyCardProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const [outcome, setOutcome] = useState("");
  useLayoutEffect(() => heading.current?.focus(), []);

  async function copy(): Promise<void> {
    const isCopied = field.current !== null && (await copyFrom(field.current));
    setOutcome(isCopied ? "Copied." : "Your browser did not allow this. Select the key and copy it yourself.");
  }

  return (
    <section class="card key-card" aria-labelledby="key-title">
      <h2 id="key-title" ref={heading} tabIndex={-1}>
        The key of “{stream.title}”
      </h2>
      <p>
        <strong>Copy it now: it is not shown again.</strong> Enter it in your encoder as the stream key. Anybody who has
        it can publish.
      </p>
      <div class="key-line">
        <input
          ref={field}
          aria-label="Stream key"
          value={streamKey}
          readOnly
          autocomplete="off"
          spellcheck={false}
          onFocus={(event) => event.currentTarget.select()}
        />
        <button type="button" class="primary" onClick={() => void copy()}>
          Copy
        </button>
      </div>
      {stream.previousKeyUntil !== null && (
        <p class="muted small">The key before still works until {toTime(stream.previousKeyUntil, Date.now())}.</p>
      )}
      <div class="key-foot">
        <button type="button" class="quiet" onClick={onClose}>
          I have kept it
        </button>
        <span class="muted small" role="status">
          {outcome}
        </span>
      </div>
    </section>
  );
}

/** A page that was loaded over plain HTTP has no `navigator.clipboard`, so it copies in the old way. */
async function copyFrom(field: HTMLInputElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.select();
    return document.execCommand("copy");
  }
}
