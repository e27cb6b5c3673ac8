// Shares and chances as a person would write them.

/** A share as text: "2 %", "4.1 %", "0.04 %". */
export function percent(share: number): string {
  const value = share * 100;
  const digits = value >= 9.95 ? 0 : value >= 0.095 ? 1 : 2;
  return `${value.toFixed(digits).replace(/\.0+$/, '')} %`;
}

/** The chance 1/e of a log e-value as text, rounded to the safe side: "1 in 1,000,000". */
export function chanceText(logE: number): string {
  const e = Math.exp(Math.min(logE, Math.log(1e9)));
  const unit = 10 ** Math.floor(Math.log10(Math.max(1, e)));
  return `1 in ${(Math.floor(e / unit + 1e-9) * unit || 1).toLocaleString('en-US')}`;
}
