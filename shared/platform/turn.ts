// A turn of the event loop: between two slices of long work, everything else that waits runs.
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
