// A question before something happens. It is the browser's own modal dialog: the focus stays
// inside, Escape closes it, and the focus returns to what opened it.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Failure } from '../api.js';
import { announce } from './announcer.js';

export interface Question {
  readonly title: string;
  /** What will happen. */
  readonly body: ComponentChildren;
  /** The text of the button that does it. */
  readonly action: string;
  readonly danger?: boolean;
  /** Asks for a reason, which is kept in the history and the audit log. */
  readonly asksReason?: boolean;
  /** `given`: the values of the form's fields by name, trimmed. */
  readonly run: (given: (name: string) => string) => Promise<void>;
}

function Dialog({ question, onClose }: { question: Question; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const { title, body, action, danger, asksReason, run } = question;
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    const given = (name: string): string => {
      const value = form.get(name);
      return typeof value === 'string' ? value.trim() : '';
    };
    setBusy(true);
    setFailure(null);
    try {
      await run(given);
      announce(`${action}: done`);
      dialog.current?.close();
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      setFailure(error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={onClose}>
      <form method="dialog" onSubmit={(event) => void submit(event)}>
        <h2 id="dialog-title">{title}</h2>
        {body}
        {asksReason === true && (
          <label class="field">
            Reason (kept in the history and the audit log)
            <textarea name="reason" rows={2} maxLength={500} />
          </label>
        )}
        {failure !== null && (
          <p class="notice bad" role="alert">
            <strong>{failure.message}</strong> {failure.todo}
          </p>
        )}
        <div class="buttons">
          <button type="submit" class={danger === true ? 'danger' : 'primary'} disabled={busy}>
            {action}
          </button>
          <button type="button" onClick={() => dialog.current?.close()}>
            Cancel
          </button>
        </div>
      </form>
    </dialog>
  );
}

/** A question at a time: `ask` opens it, `dialog` is rendered by the page. */
export function useQuestion(): {
  readonly ask: (question: Question) => void;
  readonly dialog: ComponentChildren;
} {
  const [question, setQuestion] = useState<Question | null>(null);
  const dialog =
    question === null ? null : <Dialog question={question} onClose={() => setQuestion(null)} />;
  return { ask: setQuestion, dialog };
}
