// How a refusal reads, for tables of wrong inputs: one text holds the code and the detail.
import { Fault } from '../../shared/base/fault-codes.js';

/** `code: detail` of the Fault that `work` throws; `accepted` without one. Other errors pass. */
export function refusalText(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof Fault) return `${error.code}: ${error.detail}`;
    throw error;
  }
  return 'accepted';
}
