// `npm run example:digits -- OUTDIR`: writes the example data of the walk-through (data.ts lists
// the files) into OUTDIR.
import { exampleData } from './data.js';

const outDir = process.argv[2];
if (outDir === undefined || process.argv.length > 3) {
  console.error('usage: npm run example:digits -- OUTDIR');
  process.exitCode = 2;
} else {
  console.log(`${outDir}: ${exampleData(outDir).join(', ')}`);
}
