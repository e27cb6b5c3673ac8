// Commands whose modules are loaded when they run.

/**
 * The action of a command, in a module that `load` imports when the command runs: help, completion
 * and a wrong command line then cost neither its time nor its memory. `out` is its first argument,
 * what was given on the command line follows.
 */
export const lazily =
  <Out, Given extends unknown[]>(
    out: Out,
    load: () => Promise<(out: Out, ...given: Given) => Promise<void>>,
  ) =>
  async (...given: Given): Promise<void> =>
    (await load())(out, ...given);
