// Which versions the fleet ran over time, a picture for each component.
import type { FleetHistory } from '../../../../shared/protocol/operator-api.js';
import { useState } from 'preact/hooks';
import { limits } from '../limits.js';
import { Loading, Section, Trouble } from '../parts/basics.js';
import { StackChart } from '../parts/stack-chart.js';
import { Field } from '../parts/fields.js';
import { reads } from '../reads.js';
import { topics, useResource } from '../resource.js';
import { atTime } from '../text.js';

const SPANS = [
  [24, 'a day'],
  [7 * 24, 'a week'],
  [30 * 24, '30 days'],
] as const;

export function VersionsOverTime() {
  const [hours, setHours] = useState<number>(24);
  const { data, failure } = useResource(reads.fleetHistory(hours), topics('rollouts'));
  return (
    <Section
      title="Versions over time"
      id="versions-over-time"
      aside={
        <Field text="Over" inline>
          <select
            value={String(hours)}
            onChange={(event) => setHours(Number(event.currentTarget.value))}
          >
            {SPANS.map(([span, text]) => (
              <option key={span} value={String(span)}>
                {text}
              </option>
            ))}
          </select>
        </Field>
      }
    >
      <Trouble failure={failure} />
      {data === undefined ? failure === null && <Loading /> : <Charts history={data} />}
    </Section>
  );
}

function Charts({ history: { from, to, components } }: { history: FleetHistory }) {
  if (components.length === 0)
    return <p class="quiet">Nothing was counted yet: the server counts every five minutes.</p>;
  return (
    <>
      {components.map(({ component, versions, hours }) => (
        <div key={component}>
          <h3>{component}</h3>
          <StackChart
            label={`Devices by version of ${component}`}
            names={versions.map((version) => version ?? 'nothing runs')}
            rows={hours.map(({ at, devices }) => ({ at, counts: devices }))}
            from={Date.parse(from)}
            to={Date.parse(to)}
            rowMs={limits.historyRowMs}
            timeText={atTime}
          />
        </div>
      ))}
    </>
  );
}
