// A question before something happens. It is the browser's own modal dialog: the focus stays
// inside, Escape closes it, and the focus returns to what opened it.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { givenIn, useAction, type Given } from './action.js';
import { announce } from './announcer.js';
import { Trouble } from './basics.js';
import { Field } from './fields.js';

export interface Question {
  readonly title: string;
  /** What will happen. */
  readonly body: ComponentChildren;
  /** The text of the button that does it. */
  readonly action: string;
  readonly danger?: boolean;
  /** Asks for a reason, which is kept in the history and the audit log. */
  readonly asksReason?: boolean;
  /** What the button would do, as a hint. */
  readonly hint?: string;
  readonly run: (given: Given) => Promise<void>;
}

function Dialog({ question, onClose }: { question: Question; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const { busy, failure, run: start } = useAction();
  useEffect(() => dialog.current?.showModal(), []);
  const { title, body, action, danger, asksReason, run } = question;
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const given = givenIn(event);
    void start(async () => {
      await run(given);
      announce(`${action}: done`);
      dialog.current?.close();
    });
  };
  return (
    <dialog ref={dialog} aria-labelledby="dialog-title" onClose={onClose}>
      <form method="dialog" onSubmit={submit}>
        <h2 id="dialog-title">{title}</h2>
        {body}
        {asksReason === true && (
          <Field text="Reason (kept in the history and the audit log)">
            <textarea name="reason" rows={2} maxLength={500} />
          </Field>
        )}
        <Trouble failure={failure} />
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

/** A button for each question, named by its action. */
export function QuestionButtons({ of }: { of: readonly Question[] }) {
  const { ask, dialog } = useQuestion();
  if (of.length === 0) return null;
  return (
    <>
      <div class="buttons" role="group" aria-label="Commands">
        {of.map((question) => (
          <button
            key={question.action}
            type="button"
            class={question.danger === true ? 'danger' : undefined}
            title={question.hint}
            onClick={() => ask(question)}
          >
            {question.action}
          </button>
        ))}
      </div>
      {dialog}
    </>
  );
}
