// Says to a screen reader, and shows for a while, that something was done.
import { signal, useSignal } from '../signal.js';

const announcement = signal('');

export const announce = (text: string): void => announcement.set(text);

export function Announcer() {
  return (
    <p class="announcement" role="status">
      {useSignal(announcement)}
    </p>
  );
}
