import tseslint from 'typescript-eslint';

const strict = {
  // A number in a message prints the same everywhere.
  '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
  // `() => doIt()` in one line reads better than a block around one statement.
  '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
  // `while (true)` with a return inside is a loop without a false condition to invent.
  '@typescript-eslint/no-unnecessary-condition': ['error', { allowConstantLoopConditions: true }],
  // An in-memory implementation of an asynchronous interface has nothing to await, and `async`
  // turns what it throws into a rejection, which is what its callers expect.
  '@typescript-eslint/require-await': 'off',
};

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', '.linnet/', '.stryker-tmp/', '**/*_pb.ts'] },
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: tseslint.configs.strictTypeChecked,
    languageOptions: {
      parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname },
    },
    rules: {
      ...strict,
      '@typescript-eslint/no-misused-promises': [
        'error',
        { checksVoidReturn: { arguments: false } },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_' },
      ],
      'no-console': 'error',
      eqeqeq: 'error',
    },
  },
  {
    // `array[at]!` inside the array's length is what noUncheckedIndexedAccess asks of arithmetic on
    // typed arrays. In a test, a missing element fails the test anyway.
    files: ['test/**', 'firmware-tools/model/**', 'firmware-tools/demo/digits/**'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off' },
  },
  {
    // Relations between constants: the compiler knows that they hold today, the assertion stays.
    files: ['shared/base/limits.ts'],
    rules: { '@typescript-eslint/no-unnecessary-condition': 'off' },
  },
  { files: ['firmware-tools/**', '**/*.mjs', 'test/**'], rules: { 'no-console': 'off' } },
);
