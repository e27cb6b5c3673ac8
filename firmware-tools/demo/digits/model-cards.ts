// What digits.json records of the committed digit models: recipe, digests and accuracies. Written
// by training/train.ts, read by the demo and by tests.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { digitsFolder, type DigitVersion } from './data.js';
import type { Recipe } from './training/fit.js';

/**
 * One model's entry in digits.json. Accuracies are shares 0..1 against the true labels unless the
 * name says otherwise.
 */
export interface DigitModelCard {
  version: DigitVersion;
  file: string;
  sha256: string;
  recipe: Recipe;
  labels: string;
  /**
   * SHA-256 over the exact training images (little-endian float32) and labels (one byte each), as
   * used.
   */
  trainingDataSha256: string;
  validationAccuracy: number;
  testAccuracy: number;
  /** What the training job itself measured, on the labels that it was given. */
  validationAccuracyOnItsOwnLabels: number;
}

export interface DigitCards {
  data: { source: string; splitSha256: string; train: number; validation: number; test: number };
  models: DigitModelCard[];
}

export function digitCards(): DigitCards {
  return JSON.parse(readFileSync(join(digitsFolder(), 'digits.json'), 'utf8')) as DigitCards;
}
