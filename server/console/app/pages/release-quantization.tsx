// What quantization changed and cost, as the makers measured it and signed it into the release.
import type { ReleaseDetail } from '../../../../shared/protocol/operator-api.js';
import { Bars, Facts, Section } from '../parts/basics.js';
import { bytesText, counted, share } from '../text.js';

type Loss = NonNullable<ReleaseDetail['quantization']>;

export function Quantization({ release: { manifest, quantization } }: { release: ReleaseDetail }) {
  const settings = manifest.lineage.quantization;
  return (
    <Section title="Quantization" id="quantization">
      {settings === null ? (
        <p class="quiet">No quantization report.</p>
      ) : (
        <>
          {quantization === null ? (
            <p class="quiet">
              The report has no figures. Bundles built with the report of{' '}
              <code>linnet model quantize</code> have them.
            </p>
          ) : (
            <Plots loss={quantization} />
          )}
          <Settings of={settings} />
        </>
      )}
    </Section>
  );
}

function Plots({ loss }: { loss: Loss }) {
  const { fp32Bytes, int8Bytes, outputs, heldOut } = loss;
  return (
    <>
      <h3>Size</h3>
      <Bars
        label="Size before and after"
        of={[
          { key: 'fp32', name: 'fp32', count: fp32Bytes, text: bytesText(fp32Bytes) },
          { key: 'int8', name: 'int8', count: int8Bytes, text: bytesText(int8Bytes) },
        ]}
      />
      <h3>Signal to noise on the calibration data</h3>
      <Bars
        label="Signal to quantization noise by output"
        of={outputs.map(({ output, sqnrDb }) => ({
          key: output,
          name: output,
          count: Math.max(0, sqnrDb ?? 0),
          text: sqnrDb === null ? 'does not apply' : `${sqnrDb.toFixed(1)} dB`,
        }))}
      />
      <h3>Cosine to fp32 on the calibration data</h3>
      <Bars
        label="Cosine to fp32 by output"
        most={1}
        of={outputs.map(({ output, cosine }) => ({
          key: output,
          name: output,
          count: Math.max(0, cosine),
          text: cosine.toFixed(5),
        }))}
      />
      <HeldOut of={heldOut} />
    </>
  );
}

function HeldOut({ of }: { of: Loss['heldOut'] }) {
  if (of === null) return <p class="quiet">No held-out data: the loss of accuracy is not known.</p>;
  const rows: readonly (readonly [name: string, value: number | null])[] = [
    ['Accuracy of fp32', of.fp32Accuracy],
    ['Accuracy of int8', of.int8Accuracy],
    ['Same answer', of.agreement],
  ];
  return (
    <>
      <h3>On {counted(of.samples, 'held-out sample')}</h3>
      <Bars
        label="Accuracy before and after"
        most={1}
        of={rows.map(([name, value]) => ({
          key: name,
          name,
          count: value ?? 0,
          text: value === null ? 'no labels' : share(value),
        }))}
      />
      <p class="quiet">
        Outputs differ by at most {of.maxAbsDiff.toPrecision(3)}; smallest cosine{' '}
        {of.minCosine.toFixed(5)}.
      </p>
    </>
  );
}

function Settings({ of }: { of: Readonly<Record<string, unknown>> }) {
  const shown = Object.entries(of).filter(([name]) => name !== 'measured');
  return (
    <details>
      <summary>Settings of the quantizer</summary>
      <Facts
        of={shown.map(
          ([name, value]) =>
            [
              name,
              typeof value === 'string' ? value : <code>{JSON.stringify(value)}</code>,
            ] as const,
        )}
      />
    </details>
  );
}
