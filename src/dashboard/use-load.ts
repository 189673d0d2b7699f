import { useCallback, useEffect, useState } from "preact/hooks";

/** `message` is the reason, as a sentence for the user. */
export type Unloaded = { kind: "loading" } | { kind: "failed"; message: string };
export type Loadable<T> = Unloaded | { kind: "loaded"; value: T };

/** Loads a value, and loads it again when a dependency changes. @returns the value and a function that tries again */
export function useLoad<T>(load: () => Promise<T>, dependencies: unknown[]): [Loadable<T>, () => void] {
  const [state, setState] = useState<Loadable<T>>({ kind: "loading" });
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
    // The caller names the dependencies of `load`.
  }, [...dependencies, attempt]);
  return [state, useCallback(() => setAttempt((before) => before + 1), [])];
}
