// The policy of a trial where nobody says otherwise. It stands apart from its schema, so that the
// help of the command line, which lists it, loads none.
import type { TrialPolicy } from './trial-evidence.js';

export const defaultTrialPolicy: TrialPolicy = {
  minSeconds: 10,
  maxSeconds: 3600,
  minPairs: 100,
  differenceLimitPermille: 100,
  differenceCapPermille: 200,
  falseAlarmPermille: 2,
  falsePassPermille: 10,
  errorLimitPermille: 10,
  slowdownLimitPermille: 1200,
  classShiftLimitPermille: 250,
  confidenceDropLimitPermille: 100,
};
