import { useLayoutEffect, useRef } from "preact/hooks";
import { Notice } from "./notice.tsx";
import type { StreamInput } from "./stream-api.ts";
import { useAction } from "./use-action.ts";

interface StreamFormProps {
  /** The present values; absent for a new stream. */
  stream?: StreamInput;
  submitLabel: string;
  onSubmit(input: StreamInput): Promise<void>;
  onCancel(): void;
}

/** The form for a new stream, or for the title and expiry of an existing one. */
export function StreamForm({ stream, submitLabel, onSubmit, onCancel }: StreamFormProps) {
  const { isBusy, failure, run } = useAction();
  const title = useRef<HTMLInputElement>(null);
  const expiry = toField(stream?.expiresAt ?? null);
  useLayoutEffect(() => title.current?.focus(), []);

  function submit(event: SubmitEvent): void {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const typed = String(form.get("expiresAt"));
    // The field shows no seconds, so an unchanged field must not replace the exact time.
    const expiresAt = typed === expiry ? (stream?.expiresAt ?? null) : toIso(typed);
    void run(() => onSubmit({ title: String(form.get("title")), expiresAt }));
  }

  return (
    <form class="stream-form" onSubmit={submit} onKeyDown={(event) => event.key === "Escape" && onCancel()}>
      <label>
        Title
        <input
          name="title"
          ref={title}
          required
          maxLength={500}
          autocomplete="off"
          defaultValue={stream?.title ?? ""}
        />
      </label>
      <label>
        Key expires (optional)
        <input name="expiresAt" type="datetime-local" defaultValue={expiry} />
      </label>
      {failure && <Notice kind="error">{failure}</Notice>}
      <div class="buttons">
        <button type="submit" class="primary" disabled={isBusy}>
          {submitLabel}
        </button>
        <button type="button" class="quiet" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}

/** Local date and time, in the form that `datetime-local` takes. */
function toField(iso: string | null): string {
  if (iso === null) return "";
  const time = new Date(iso);
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function toIso(typed: string): string | null {
  return typed === "" ? null : new Date(typed).toISOString();
}
