import { useLayoutEffect, useRef } from "preact/hooks";
import { Notice } from "./notice.tsx";
import type { StreamForm } from "./stream-api.ts";
import { useAction } from "./use-action.ts";

interface StreamFieldsProps {
  /** What stands there now; absent for a stream that is made. */
  stream?: StreamForm;
  submitLabel: string;
  onSubmit(form: StreamForm): Promise<void>;
  onCancel(): void;
}

/** A stream's title and expiry, to make one or to change it. */
export function StreamFields({ stream, submitLabel, onSubmit, onCancel }: StreamFieldsProps) {
  const { isBusy, failure, run } = useAction();
  const title = useRef<HTMLInputElement>(null);
  const expiry = toField(stream?.expiresAt ?? null);
  useLayoutEffect(() => title.current?.focus(), []);

  function submit(event: SubmitEvent): void {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const typed = String(form.get("expiresAt"));
    // The field knows no seconds: what nobody touched stays as it is.
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

/** As a field for local date and time has it. */
function toField(iso: string | null): string {
  if (iso === null) return "";
  const time = new Date(iso);
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

function toIso(typed: string): string | null {
  return typed === "" ? null : new Date(typed).toISOString();
}
