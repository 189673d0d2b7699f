import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";

interface ConfirmButtonProps {
  /** The label of the button that opens the question. */
  label: string;
  question: string;
  yes: string;
  no: string;
  /** False if the action can be undone. */
  isDangerous?: boolean;
  disabled?: boolean;
  /** Fields between the question and the answers. */
  children?: ComponentChildren;
  onYes(): void;
}

/** A button that asks before it acts. */
export function ConfirmButton(props: ConfirmButtonProps) {
  const { label, question, yes, no, isDangerous = true, disabled = false, children, onYes } = props;
  const [isAsking, setAsking] = useState(false);
  const opener = useRef<HTMLButtonElement>(null);
  const refusal = useRef<HTMLButtonElement>(null);
  const wasAsking = useRef(false);
  const questionId = useId();

  // Moves the focus to the harmless answer when the question opens, and back to the button when it closes.
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
      class="confirm"
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
