// The work of each state of the update machine: one function a state, each doing one thing and saying which event is
// then true. They hold no state of their own and write nothing but through the Updater.
import { bounds } from '../../shared/base/limits.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import { openRelease, type Release } from '../../shared/release/manifest.js';
import type { UpdateState } from '../../shared/protocol/states.js';
import { judgeTrial } from '../../shared/statistics/trial-verdict.js';
import { previousOf, runningOf, spareOf, type Order, type UpdateRecord } from './record.js';
import type { Step, Updater } from './driver.js';
import { admit, admitDisk, admitMemory, matchOrder, refOf } from './admission.js';

export type Work = (updater: Updater) => Promise<Step>;

const REST: Step = { waitMs: 1_000 };
const TRIAL_LOOK: Step = { waitMs: 500 };

/** The order under way; every working state has one. */
function orderOf(record: UpdateRecord): Order {
  if (record.work === null) throw new Error(`state ${record.state} without an order`);
  return record.work;
}

/** True when the director now wants something else than what is under way. */
function superseded({ record, wanted }: Updater): boolean {
  return wanted !== undefined && (wanted === null || wanted.order !== orderOf(record).order);
}

/** Takes an order that was not taken before. One that names what runs already is answered at once. */
const idle: Work = async (updater) => {
  const { record, wanted } = updater;
  if (wanted === undefined) return REST;
  if (wanted === null) return withdrawn(updater);
  const running = runningOf(record)?.digest === wanted.sha256;
  if (wanted.order <= record.order) {
    const stands = wanted.order === record.order && !running && standsUntilDone(record, wanted);
    return stands && updater.mayTryAgain ? take(wanted) : REST;
  }
  if (running) {
    const release = { component: wanted.component, version: wanted.version, digest: wanted.sha256 };
    const result = wanted.rollback ? 'reverted' : 'confirmed';
    await updater.note({
      order: wanted.order,
      floor: wanted.rollback ? wanted.version : record.floor,
      outcome: { result, code: null, detail: 'it was running already', release, assignment: wanted.order },
    });
    return REST;
  }
  return take(wanted);
};

/** An order that failed is not tried again, but for these: to go back, and to bring back a device that lost the release it served. */
const standsUntilDone = (record: UpdateRecord, order: Order): boolean =>
  order.rollback || (record.active === null && record.floor !== null);

/** An order that the director took away. A first release has nothing to go back to: it stops. What was never ordered, or has a past, serves on. */
async function withdrawn(updater: Updater): Promise<Step> {
  const { record } = updater;
  if (record.order === 0 || !record.first || record.active === null) return REST;
  await updater.note({ active: null, slots: { a: null, b: null } });
  await updater.stopServing();
  return REST;
}

/** With nothing to serve, any order will do, also one already taken. */
const stranded: Work = async ({ wanted }) => (wanted === undefined || wanted === null ? REST : take(wanted));

const take = (order: Order): Step => ({
  event: 'ordered',
  change: { work: order, order: order.order, damaged: 0, modelFaults: 0, outcome: null },
});

const supersededStep: Step = { event: 'superseded' };

/** Envelope, policy that needs no more than it, then the files. */
const assigned: Work = async (updater) => {
  if (superseded(updater)) return supersededStep;
  const { record, slots, fetch, ports } = updater;
  const order = orderOf(record);
  await slots.prepare(order.sha256);
  await slots.tidy(order.sha256);
  const release = await envelopeOf(updater, order);
  matchOrder(release, order);
  admit(release, order, record);
  const local = await localReleases(updater);
  let present = 0;
  for (const file of release.manifest.files) {
    const here = local.some(({ files }) => files.some((other) => other.sha256 === file.sha256));
    present += here ? file.length : ((await ports.disk.size(slots.partial(release.digest, file))) ?? 0);
  }
  admitDisk(release, present, await ports.disk.freeBytes(slots.incoming(release.digest)));
  await fetch.files(release, local, (progress) => updater.progress(progress));
  return { event: 'fetched' };
};

/** The proven envelope of an order: already gathered, still in a slot (an order to go back), or fetched. */
async function envelopeOf(updater: Updater, order: Order): Promise<Release> {
  const { slots, fetch, ports, record } = updater;
  const gathered = await slots.envelope(slots.incoming(order.sha256));
  if (gathered !== null) {
    try {
      const release = openRelease(gathered, ports.ring());
      if (release.digest === order.sha256) return release;
    } catch (error) {
      if (!isFault(error)) throw error; // Damaged on disk: fetched again below.
    }
  }
  let bytes: Uint8Array | null = null;
  for (const slot of ['a', 'b'] as const) {
    if (record.slots[slot]?.digest === order.sha256) bytes = await slots.envelope(slots.slot(slot));
  }
  bytes ??= await ports.fetchEnvelope(order);
  const release = openRelease(bytes, ports.ring());
  await fetch.keepEnvelope(order.sha256, bytes);
  return release;
}

async function localReleases({
  record,
  slots,
  ports,
}: Updater): Promise<{ folder: string; files: Release['manifest']['files'] }[]> {
  const found = [];
  for (const slot of ['a', 'b'] as const) {
    if (record.slots[slot] === null) continue;
    const bytes = await slots.envelope(slots.slot(slot));
    if (bytes === null) continue;
    try {
      found.push({ folder: slots.slot(slot), files: openRelease(bytes, ports.ring()).manifest.files });
    } catch (error) {
      if (!isFault(error)) throw error; // A damaged slot is no source of files.
    }
  }
  return found;
}

/** Proof of every byte from disk, then policy. Nothing parses the model before this. */
const downloaded: Work = async (updater) => {
  if (superseded(updater)) return supersededStep;
  const { record, slots, ports } = updater;
  const order = orderOf(record);
  const envelope = await slots.envelope(slots.incoming(order.sha256));
  if (envelope === null) throw new Fault('manifest_undecodable', 'the gathered release has lost its envelope');
  const release = openRelease(envelope, ports.ring());
  matchOrder(release, order);
  try {
    await slots.proveFiles(release.manifest, (file) => slots.partial(release.digest, file));
  } catch (error) {
    if (!isFault(error, 'file_digest', 'file_length')) throw error;
    // What does not prove is not kept. A torn write or a bad mirror deserves another fetch; a source that is bad for good, an end.
    await ports.disk.remove(slots.incoming(order.sha256));
    const damaged = record.damaged + 1;
    if (damaged >= bounds.fetchTriesMaxCount) throw error;
    updater.damagedFetch(error);
    return { event: 'damaged', change: { damaged } };
  }
  admit(release, order, record);
  // An order to go back is not refused for want of memory: what it goes back to has run here.
  if (!order.rollback) admitMemory(release, await ports.resources.memoryAvailableBytes());
  // From here on the spare slot is being rewritten, so the record no longer claims what it held, unless it is this release.
  const spare = spareOf(record);
  const keeps = record.slots[spare]?.digest === release.digest;
  return { event: 'vetted', change: { slots: { ...record.slots, [spare]: keeps ? record.slots[spare] : null } } };
};

const verified: Work = async (updater) => {
  if (superseded(updater)) return supersededStep;
  const { record, slots, ports } = updater;
  const order = orderOf(record);
  const spare = spareOf(record);
  const envelope = await slots.envelope(slots.incoming(order.sha256));
  if (envelope === null) throw new Fault('manifest_undecodable', 'the gathered release has lost its envelope');
  const release = openRelease(envelope, ports.ring());
  await slots.layOut(order.sha256, release.manifest, spare);
  return { event: 'laid_out', change: { slots: { ...record.slots, [spare]: refOf(release) } } };
};

/**
 * Golden probes on this device's own processor, in a process of its own; the slot is proven once more just before. On the way
 * back right answers are enough: a device under load must not be kept on a bad release because the good one is slow today.
 */
const staged: Work = async (updater) => {
  if (superseded(updater)) return supersededStep;
  const candidate = await updater.proven(spareOf(updater.record));
  if (candidate === null) throw new Fault('file_digest', 'the staged release no longer proves from disk');
  const report = await updater.ports.runtime.probe(candidate);
  const code = report.code ?? 'probe_differs';
  const tolerated = orderOf(updater.record).rollback && (code === 'probe_slow' || code === 'probe_memory');
  if (!report.passed && !tolerated) throw new Fault(code, report.words);
  updater.ports.log.info(
    { component: updater.component, version: candidate.release.version, probe: report.words },
    'golden probes passed',
  );
  return { event: 'probed' };
};

/** The swap is the one write that names the spare slot active; requests flip in the next step, and at every start. */
const probed: Work = async (updater) => {
  if (superseded(updater)) return supersededStep;
  return { event: 'swapped', change: { active: spareOf(updater.record), modelFaults: 0 } };
};

/** The trial: serve the new release with the old one in its shadow, judge the evidence, confirm or go back. */
const swapped: Work = async (updater) => {
  const { record } = updater;
  const order = orderOf(record);
  if (superseded(updater)) {
    await updater.goBack({
      result: 'rolled_back',
      code: 'trial_withdrawn',
      detail: 'the server withdrew this release during its trial',
    });
    return { waitMs: 0 };
  }
  const current = await updater.installed(record.active);
  if (current === null) {
    await updater.goBack({ result: 'rolled_back', code: 'file_digest', detail: 'the new release no longer proves from disk' });
    return { waitMs: 0 };
  }
  const old = order.rollback ? null : await updater.installed(spareOf(record));
  try {
    await updater.serve(current, old);
  } catch (error) {
    if (!isFault(error)) throw error;
    return modelFault(updater, error);
  }
  if (order.rollback) return confirm(updater, 'reverted', 'went back as ordered');
  return judge(updater, order, old !== null);
};

async function modelFault(updater: Updater, error: Fault): Promise<Step> {
  const modelFaults = updater.record.modelFaults + 1;
  if (error.kind === 'refused' || modelFaults >= bounds.modelFaultStartsMaxCount) {
    await updater.goBack({
      result: 'rolled_back',
      code: error.kind === 'refused' ? error.code : 'trial_crashes',
      detail: `${error.detail} (start ${modelFaults})`,
    });
    return { waitMs: 0 };
  }
  await updater.note({ modelFaults });
  return TRIAL_LOOK;
}

async function judge(updater: Updater, order: Order, replaces: boolean): Promise<Step> {
  const { record, ports } = updater;
  const measured = ports.runtime.evidence();
  if (measured === null) return TRIAL_LOOK;
  const evidence = { ...measured, replaces, modelFaults: measured.modelFaults + record.modelFaults };
  const verdict = judgeTrial(evidence, order.trial);
  updater.trialReport(evidence, verdict.verdict !== 'measuring');
  if (verdict.verdict === 'measuring') return TRIAL_LOOK;
  const detail = verdict.words.join(' ');
  if (verdict.verdict === 'pass') return confirm(updater, 'confirmed', detail);
  await updater.goBack({ result: 'rolled_back', code: verdict.code, detail });
  return { waitMs: 0 };
}

async function confirm(updater: Updater, result: 'confirmed' | 'reverted', detail: string): Promise<Step> {
  const { record } = updater;
  const first = record.first && previousOf(record) === null;
  const change = { floor: orderOf(record).version, first };
  await updater.move({ event: 'confirmed', change, outcome: { result, code: null, detail } });
  const current = await updater.installed(updater.record.active);
  if (current !== null) await updater.serve(current, null);
  return { waitMs: 0 };
}

export const work = { idle, assigned, downloaded, verified, staged, probed, swapped, stranded } as const satisfies Record<
  UpdateState,
  Work
>;
