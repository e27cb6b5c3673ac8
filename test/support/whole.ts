// `npm test` stays short: what takes minutes runs in a shorter version there, and whole with
// `npm run test:whole`, as CI does.
export const isWhole = process.env.LINNET_TESTS === 'whole';

/** `npm run test:installed`: packages, installed on Debian systems that debootstrap makes. */
export const ofInstalledPackages = process.env.LINNET_TESTS === 'installed';

/** `npm run test:systemd`: packages on a Debian system that is booted. */
export const ofSystemd = process.env.LINNET_TESTS === 'systemd';

/** `npm run test:arm64`: the package for arm64, under emulation. */
export const ofArm64 = process.env.LINNET_TESTS === 'arm64';

/** All of `cases`; in the shorter version the first and each `nth` after it. */
export const orEach = <T>(nth: number, cases: readonly T[]): T[] =>
  cases.filter((_, index) => isWhole || index % nth === 0);
