import { useState } from "preact/hooks";

/** An action of the user: whether it is under way, and why the last one failed, as a sentence. */
export interface Action {
  isBusy: boolean;
  failure: string | null;
  /** Never throws. @returns whether it worked */
  run(action: () => Promise<void>): Promise<boolean>;
}

export function useAction(): Action {
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(null);

  async function run(action: () => Promise<void>): Promise<boolean> {
    setBusy(true);
    setFailure(null);
    try {
      await action();
      return true;
    } catch (error) {
      setFailure((error as Error).message);
      return false;
    } finally {
      setBusy(false);
    }
  }

  return { isBusy, failure, run };
}
