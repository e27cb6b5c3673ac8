// A Stryker plugin for `npm run mutants`: sentences for people are not mutated. A test that repeats
// every part of a message holds the words fast, not the behaviour; tests name the messages that
// matter. Text without a space (states, codes, names of fields) are mutated like all other code.

const REASON = 'a sentence for people';

const isPlain = ({ type }) => type === 'Identifier' || type === 'MemberExpression';

function isSentence({ type, value, quasis, expressions }) {
  if (type === 'StringLiteral') return value.trim().includes(' ');
  if (type !== 'TemplateLiteral' || !expressions.every(isPlain)) return false;
  return quasis.some((quasi) => quasi.value.raw.includes(' '));
}

export const strykerPlugins = [
  {
    kind: 'Ignore',
    name: 'sentences',
    value: { shouldIgnore: ({ node }) => (isSentence(node) ? REASON : undefined) },
  },
];
