// The part of jstat 1.9.6 that distributions.ts uses; the package brings no types.
declare module 'jstat' {
  interface Quantile {
    /** The value below which a share `p` of the distribution lies. */
    inv(p: number, ...parameters: number[]): number;
  }
  const jStat: { readonly chisquare: Quantile; readonly beta: Quantile };
  export default jStat;
}
