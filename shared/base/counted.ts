// Numbers with the thing they count, in messages for people.

/** `1 device`, `2 devices`; with `several`, also the verb: `1 device runs`, `2 devices run`. */
export const counted = (count: number, one: string, several = `${one}s`): string =>
  `${count} ${count === 1 ? one : several}`;
