import { useState } from "preact/hooks";
import type { Stream } from "../client/index.ts";
import { ConfirmButton } from "./confirm-button.tsx";
import { Notice } from "./notice.tsx";
import { deleteStream, type NewKey, rotateKey, setStream } from "./stream-api.ts";
import { isOnAir } from "./stream-badge.tsx";
import { useAction } from "./use-action.ts";

const GRACES: [seconds: number, label: string][] = [
  [0, "not at all"],
  [600, "for 10 minutes"],
  [3600, "for 1 hour"],
  [86_400, "for 1 day"],
];

interface StreamActionsProps {
  token: string;
  stream: Stream;
  onEdit(): void;
  onKey(newKey: NewKey): void;
  onDeleted(): void;
  /** Called after an action, also a failed one. Its button may be gone, so the focus needs another place. */
  onSettled(): void;
}

/** The actions of a stream's owner. Those that cannot be undone, or end a broadcast, ask first. */
export function StreamActions({ token, stream, onEdit, onKey, onDeleted, onSettled }: StreamActionsProps) {
  const { isBusy, failure, run } = useAction();
  const [grace, setGrace] = useState(0);
  const { id, status } = stream;
  const isRefused = status === "revoked" || status === "expired";

  const act = (action: () => Promise<void>) => void run(action).then(onSettled);
  const set = (to: "revoke" | "disable" | "enable") => act(() => setStream(token, id, to));

  return (
    <div class="actions">
      {failure && <Notice kind="error">{failure}</Notice>}
      <button type="button" class="quiet" disabled={isBusy} onClick={onEdit}>
        Edit
      </button>
      <ConfirmButton
        label="Rotate key"
        question={
          status === "revoked"
            ? "Make a new key, so that the stream can be used again?"
            : "Replace the key with a new one? A live broadcast goes on."
        }
        yes="Make a new key"
        no="Keep the old key"
        isDangerous={false}
        disabled={isBusy}
        onYes={() => void run(async () => onKey(await rotateKey(token, id, grace))).then((ok) => !ok && onSettled())}
      >
        {!isRefused && (
          <label>
            The old key still works{" "}
            <select value={grace} onChange={(event) => setGrace(Number(event.currentTarget.value))}>
              {GRACES.map(([seconds, label]) => (
                <option key={seconds} value={seconds}>
                  {label}
                </option>
              ))}
            </select>
          </label>
        )}
      </ConfirmButton>
      {status === "disabled" && (
        <button type="button" class="quiet" disabled={isBusy} onClick={() => set("enable")}>
          Enable
        </button>
      )}
      {!isRefused && status !== "disabled" && !isOnAir(stream) && (
        <button type="button" class="quiet" disabled={isBusy} onClick={() => set("disable")}>
          Disable
        </button>
      )}
      {isOnAir(stream) && (
        <ConfirmButton
          label="Disable"
          question="Disable the stream? The broadcast ends at once."
          yes="Disable it"
          no="Let it run"
          disabled={isBusy}
          onYes={() => set("disable")}
        />
      )}
      {status !== "revoked" && (
        <ConfirmButton
          label="Revoke key"
          question={`Revoke the key?${isOnAir(stream) ? " The broadcast ends at once." : ""} Only a new key brings the stream back.`}
          yes="Revoke it"
          no="Keep it"
          disabled={isBusy}
          onYes={() => set("revoke")}
        />
      )}
      <ConfirmButton
        label="Delete"
        question="Delete the stream with its history?"
        yes="Delete it"
        no="Keep it"
        disabled={isBusy}
        onYes={() => void run(() => deleteStream(token, id)).then((ok) => (ok ? onDeleted() : onSettled()))}
      />
    </div>
  );
}
