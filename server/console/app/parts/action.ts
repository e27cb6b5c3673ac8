// Something that a person starts and that the server may refuse: while it runs its buttons are
// disabled, and why it was refused stays to be shown.
import { useCallback, useState } from 'preact/hooks';
import { Failure } from '../api.js';

export interface Action {
  readonly busy: boolean;
  readonly failure: Failure | null;
  readonly run: (work: () => Promise<void>) => Promise<void>;
}

export function useAction(): Action {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const run = useCallback(async (work: () => Promise<void>): Promise<void> => {
    setBusy(true);
    setFailure(null);
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      setFailure(error);
    } finally {
      setBusy(false);
    }
  }, []);
  return { busy, failure, run };
}

/** The value of a form's field by its name, trimmed; nothing where there is no such field. */
export type Given = (name: string) => string;

export function givenIn(event: SubmitEvent): Given {
  const form = new FormData(event.currentTarget as HTMLFormElement);
  return (name) => {
    const value = form.get(name);
    return typeof value === 'string' ? value.trim() : '';
  };
}
