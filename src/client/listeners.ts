/** Typed events: their names, and the arguments of each. */
export interface Listeners<Events extends Record<string, unknown[]>> {
  /** @returns removes the listener */
  on<Name extends keyof Events>(name: Name, listener: (...args: Events[Name]) => void): () => void;
  emit<Name extends keyof Events>(name: Name, ...args: Events[Name]): void;
}

export function createListeners<Events extends Record<string, unknown[]>>(): Listeners<Events> {
  const byName = new Map<keyof Events, Set<unknown>>();
  return {
    on(name, listener) {
      const set = byName.get(name) ?? new Set();
      byName.set(name, set.add(listener));
      return () => {
        set.delete(listener);
      };
    },
    emit(name, ...args) {
      for (const listener of [...(byName.get(name) ?? [])]) {
        try {
          (listener as (...args: unknown[]) => void)(...args);
        } catch (error) {
          // The page sees its own error in its console. The SDK goes on.
          queueMicrotask(() => {
            throw error;
          });
        }
      }
    },
  };
}
