// What a device measured over time, and what its releases answered beside each other.
import type { DeviceDetail } from '../../../../shared/protocol/operator-api.js';
import { Section, Table } from '../parts/basics.js';
import { Histogram, Sparkline } from '../parts/charts.js';
import { reads } from '../reads.js';
import { oneOf, useResource } from '../resource.js';
import { milliseconds, releaseText, share } from '../text.js';

export function DevicePlots({ detail }: { detail: DeviceDetail }) {
  const { id } = detail.device;
  const changed = oneOf('devices', id);
  const points = useResource(reads.inference(id), changed).data?.items.toReversed() ?? [];
  const hours = useResource(reads.hours(id), changed).data?.items.toReversed() ?? [];
  return (
    <>
      <Section title="Requests" id="requests">
        <div class="grid">
          <Sparkline
            label="Requests a second"
            values={points.map(({ served, seconds }) => (seconds > 0 ? served / seconds : null))}
            format={(value) => value.toFixed(1)}
          />
          <Sparkline
            label="Latency p50"
            values={points.map(({ p50Ms }) => p50Ms)}
            format={milliseconds}
          />
          <Sparkline
            label="Latency p99"
            values={points.map(({ p99Ms }) => p99Ms)}
            format={milliseconds}
          />
          <Sparkline
            label="Failed and refused"
            values={points.map(({ failed, refused }) => failed + refused)}
            format={(value) => value.toFixed(0)}
          />
        </div>
        <Served detail={detail} />
      </Section>
      <Section title="Hours" id="hours">
        <div class="grid">
          <Sparkline
            label="Processor, median of the hour"
            values={hours.map(({ cpuUse }) => cpuUse?.p50 ?? null)}
            format={share}
          />
          <Sparkline
            label="Memory free, median"
            values={hours.map(({ memoryAvailableMib }) => memoryAvailableMib?.p50 ?? null)}
            format={(value) => `${value.toFixed(0)} MiB`}
          />
          <Sparkline
            label="Temperature, p99"
            values={hours.map(({ temperatureC }) => temperatureC?.p99 ?? null)}
            format={(value) => `${value.toFixed(0)} °C`}
          />
          <Sparkline
            label="Disk free, median"
            values={hours.map(({ diskFreeMib }) => diskFreeMib?.p50 ?? null)}
            format={(value) => `${value.toFixed(0)} MiB`}
          />
        </div>
      </Section>
    </>
  );
}

/** The releases of the device beside each other, the last used first. */
function Served({ detail: { inference } }: { detail: DeviceDetail }) {
  return (
    <>
      <Table
        caption="What each release served"
        rows={inference}
        rowKey={({ release }) => release.digest}
        none="It has served nothing yet."
        columns={[
          { title: 'Release', cell: ({ release }) => releaseText(release) },
          { title: 'Served', cell: ({ served }) => served.toLocaleString('en') },
          { title: 'Failed', cell: ({ failed }) => failed.toLocaleString('en') },
          { title: 'Refused', cell: ({ refused }) => refused.toLocaleString('en') },
          { title: 'p50', cell: ({ p50Ms }) => milliseconds(p50Ms) },
          { title: 'p99', cell: ({ p99Ms }) => milliseconds(p99Ms) },
          {
            title: 'Confidence',
            cell: ({ meanConfidence }) => (meanConfidence === null ? '-' : share(meanConfidence)),
          },
        ]}
      />
      <div class="grid">
        {inference
          .slice(0, 2)
          .flatMap(({ release, classes, confidence }) => [
            ...(classes === null
              ? []
              : [
                  <Histogram
                    key={`classes ${release.digest}`}
                    label={`Classes, ${releaseText(release)}`}
                    counts={classes}
                    names={(index) => `class ${index}`}
                  />,
                ]),
            ...(confidence === null
              ? []
              : [
                  <Histogram
                    key={`confidence ${release.digest}`}
                    label={`Confidence, ${releaseText(release)}`}
                    counts={confidence}
                    names={(index) => `confidence ${share(index / confidence.length)} and more`}
                  />,
                ]),
          ])}
      </div>
    </>
  );
}
