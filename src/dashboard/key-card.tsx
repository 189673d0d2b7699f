import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { toTime } from "./format.ts";
import type { NewKey } from "./stream-api.ts";

interface KeyCardProps {
  newKey: NewKey;
  onClose(): void;
}

/** A key that was just made. It is in the page's memory only: nothing brings it back once this is closed. */
export function KeyCard({ newKey: { stream, streamKey }, onClose }: KeyCardProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  const field = useRef<HTMLInputElement>(null);
  const [outcome, setOutcome] = useState("");
  useLayoutEffect(() => heading.current?.focus(), []);

  async function copy(): Promise<void> {
    const isCopied = field.current !== null && (await copyFrom(field.current));
    setOutcome(isCopied ? "Copied." : "Your browser does not let this page copy: select the key and copy it yourself.");
  }

  return (
    <section class="card key-card" aria-labelledby="key-title">
      <h2 id="key-title" ref={heading} tabIndex={-1}>
        The key of “{stream.title}”
      </h2>
      <p>
        <strong>Keep it now: it is not shown again.</strong> Put it into your encoder as the stream key. Whoever has it
        may publish.
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

/** Pages that came over plain HTTP have no `navigator.clipboard`; there the older way is the only one. */
async function copyFrom(field: HTMLInputElement): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(field.value);
    return true;
  } catch {
    field.select();
    return document.execCommand("copy");
  }
}
