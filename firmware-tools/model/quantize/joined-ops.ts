// Operators that may become int8 where their inputs are (quantize-plan.ts); apart from the rest,
// because --help shows them.
export const JOINED_OPS = ['Add', 'Mul', 'Concat', 'AveragePool', 'GlobalAveragePool'] as const;
