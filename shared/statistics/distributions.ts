// Quantiles of the distributions that the tests need, from jstat (measured against @stdlib's:
// within 1e-8 of the exact value for tails from 1e-8 (chi-square) and 1e-4 (beta) up to 0.5).
import jStat from 'jstat';

/** Upper quantile of chi-square with `degrees` of freedom: exceeded with chance `alpha`. */
export function chiSquareUpper(alpha: number, degrees: number): number {
  return jStat.chisquare.inv(1 - alpha, degrees);
}

/**
 * Upper confidence bound of a share (Clopper and Pearson, Biometrika 1934, one-sided): the share at
 * which `hits` or fewer of `count` have chance `alpha`. 1 when nothing was observed.
 */
export function upperBound(
  { hits, count }: { readonly hits: number; readonly count: number },
  alpha: number,
): number {
  return hits >= count ? 1 : jStat.beta.inv(1 - alpha, hits + 1, count - hits);
}
