import { useCallback, useEffect, useState } from "preact/hooks";

/** Something that is fetched: on its way, there, or not to be had, with the reason in a sentence. */
export type Loaded<T> = { kind: "loading" } | { kind: "loaded"; value: T } | { kind: "failed"; message: string };

/** Fetches when the dependencies change; the second part tries again. */
export function useLoad<T>(load: () => Promise<T>, dependencies: unknown[]): [Loaded<T>, () => void] {
  const [state, setState] = useState<Loaded<T>>({ kind: "loading" });
  const [attempt, setAttempt] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    setState({ kind: "loading" });
    load().then(
      (value) => isCurrent && setState({ kind: "loaded", value }),
      (error: Error) => isCurrent && setState({ kind: "failed", message: error.message }),
    );
    return () => {
      isCurrent = false;
    };
    // The caller names what `load` depends on.
  }, [...dependencies, attempt]);
  return [state, useCallback(() => setAttempt((before) => before + 1), [])];
}
