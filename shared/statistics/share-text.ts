// Shares and chances as a person would write them.

/** A measured share as text: "2 %", "4.1 %", "0.04 %". */
export function percent(share: number): string {
  const value = share * 100;
  return percentText(value, value >= 9.95 ? 0 : value >= 0.095 ? 1 : 2);
}

/** A limit as text: it is set in permille, and is shown exactly. */
export const limitPercent = (limit: number): string => percentText(limit * 100, 1);

/** A measured share beside its limit: with as many digits as tell the two apart. */
export function percentBeside(limit: number, share: number): string {
  let text = percent(share);
  for (let digits = 1; text === limitPercent(limit) && share !== limit && digits <= 6; digits += 1)
    text = percentText(share * 100, digits);
  return text;
}

function percentText(value: number, digits: number): string {
  return `${value.toFixed(digits).replace(/\.0+$/, '')} %`;
}

/** The chance 1/e of a log e-value as text, rounded to the safe side: "1 in 1,000,000". */
export function chanceText(logE: number): string {
  const e = Math.exp(Math.min(logE, Math.log(1e9)));
  const unit = 10 ** Math.floor(Math.log10(Math.max(1, e)));
  return `1 in ${(Math.floor(e / unit + 1e-9) * unit || 1).toLocaleString('en-US')}`;
}
