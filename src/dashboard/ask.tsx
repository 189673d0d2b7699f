import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";

interface AskProps {
  /** Of the button that leads to the question. */
  label: string;
  question: string;
  yes: string;
  no: string;
  /** Whether what follows can be taken back. */
  isDangerous?: boolean;
  disabled?: boolean;
  /** What else there is to settle before. */
  children?: ComponentChildren;
  onYes(): void;
}

/** Two clicks, for what does not come back. */
export function Ask({ label, question, yes, no, isDangerous = true, disabled = false, children, onYes }: AskProps) {
  const [isAsking, setAsking] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const refusal = useRef<HTMLButtonElement>(null);
  const wasAsking = useRef(false);
  const questionId = useId();

  // The focus follows the question, to the answer that does no harm, and goes back with it.
  useLayoutEffect(() => {
    if (isAsking) refusal.current?.focus();
    else if (wasAsking.current) opener.current?.focus();
    wasAsking.current = isAsking;
  }, [isAsking]);

  if (!isAsking) {
    return (
      <button type="button" class="quiet" ref={opener} disabled={disabled} onClick={() => setAsking(true)}>
        {label}
      </button>
    );
  }
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for a form's fields, and this is two buttons
    <div
      class="ask"
      role="group"
      aria-labelledby={questionId}
      onKeyDown={(event) => event.key === "Escape" && setAsking(false)}
    >
      <span id={questionId}>{question}</span>
      {children}
      <button
        type="button"
        class={isDangerous ? "danger" : ""}
        onClick={() => {
          setAsking(false);
          onYes();
        }}
      >
        {yes}
      </button>
      <button type="button" class="quiet" ref={refusal} onClick={() => setAsking(false)}>
        {no}
      </button>
    </div>
  );
}
