// The work of each state of the update machine: one function a state, each doing one thing and
// saying which event is then true. They hold no state of their own and write nothing but through
// the Updater.
import { limits } from '../../shared/base/limits.js';
import { Fault, isFault } from '../../shared/base/fault-codes.js';
import { openRelease, type Release } from '../../shared/release/manifest.js';
import type { UpdateState } from '../../shared/protocol/states.js';
import { judgeTrial } from '../../shared/statistics/trial-verdict.js';
import { previousOf, runningOf, spareOf, type Assignment, type UpdateRecord } from './record.js';
import type { Step, UpdateDriver } from './driver.js';
import { admit, admitDisk, admitMemory, matchAssignment } from './admission.js';
import { refOf } from '../../shared/release/release-ref.js';

export type Work = (driver: UpdateDriver) => Promise<Step>;

const REST: Step = { waitMs: 1_000 };
const TRIAL_LOOK: Step = { waitMs: 500 };

/** The order under way; every working state has one. */
function assignmentOf(record: UpdateRecord): Assignment {
  if (record.assignment === null) throw new Error(`state ${record.state} without an order`);
  return record.assignment;
}

/** True when the director now wants something else than what is under way. */
function superseded({ record, latest }: UpdateDriver): boolean {
  return (
    latest !== undefined &&
    (latest === null || latest.assignmentId !== assignmentOf(record).assignmentId)
  );
}

/**
 * Takes an order that was not taken before. One that names what runs already is answered at once.
 */
const idle: Work = async (driver) => {
  const { record, latest } = driver;
  if (latest === undefined) return REST;
  if (latest === null) return withdrawn(driver);
  const running = runningOf(record)?.digest === latest.sha256;
  if (latest.assignmentId <= record.assignmentId) {
    const stands =
      latest.assignmentId === record.assignmentId && !running && standsUntilDone(record, latest);
    return stands && driver.mayTryAgain ? take(latest) : REST;
  }
  if (running) {
    const release = { component: latest.component, version: latest.version, digest: latest.sha256 };
    const result = latest.rollback ? 'reverted' : 'confirmed';
    await driver.note({
      assignmentId: latest.assignmentId,
      floor: latest.rollback ? latest.version : record.floor,
      outcome: {
        result,
        code: null,
        detail: 'it was running already',
        release,
        assignmentId: latest.assignmentId,
      },
    });
    return REST;
  }
  return take(latest);
};

/**
 * An order that failed is not tried again, but for these: to go back, and to bring back a device
 * that lost the release it served.
 */
const standsUntilDone = (record: UpdateRecord, assignment: Assignment): boolean =>
  assignment.rollback || (record.active === null && record.floor !== null);

/**
 * An order that the director took away. A first release has nothing to go back to: it stops. What
 * was never ordered, or has a past, serves on.
 */
async function withdrawn(driver: UpdateDriver): Promise<Step> {
  const { record } = driver;
  if (record.assignmentId === 0 || !record.first || record.active === null) return REST;
  await driver.note({ active: null, slots: { a: null, b: null } });
  await driver.stopServing();
  return REST;
}

/** With nothing to serve, any order will do, also one already taken. */
const stranded: Work = async ({ latest }) =>
  latest === undefined || latest === null ? REST : take(latest);

const take = (assignment: Assignment): Step => ({
  event: 'assigned',
  change: {
    assignment: assignment,
    assignmentId: assignment.assignmentId,
    damaged: 0,
    modelFaults: 0,
    outcome: null,
  },
});

const supersededStep: Step = { event: 'superseded' };

/** Envelope, policy that needs no more than it, then the files. */
const assigned: Work = async (driver) => {
  if (superseded(driver)) return supersededStep;
  const { record, slots, fetch, ports } = driver;
  const assignment = assignmentOf(record);
  await slots.prepare(assignment.sha256);
  await slots.tidy(assignment.sha256);
  const release = await envelopeOf(driver, assignment);
  matchAssignment(release, assignment);
  admit(release, assignment, record);
  const local = await localReleases(driver);
  let present = 0;
  for (const file of release.manifest.files) {
    const here = local.some(({ files }) => files.some((other) => other.sha256 === file.sha256));
    present += here
      ? file.length
      : ((await ports.disk.size(slots.partial(release.digest, file))) ?? 0);
  }
  admitDisk(release, present, await ports.disk.freeBytes(slots.incoming(release.digest)));
  await fetch.files(release, local, (progress) => driver.progress(progress));
  return { event: 'fetched' };
};

/**
 * The proven envelope of an order: already gathered, still in a slot (an order to go back), or
 * fetched.
 */
async function envelopeOf(driver: UpdateDriver, assignment: Assignment): Promise<Release> {
  const { slots, fetch, ports, record } = driver;
  const gathered = await slots.envelope(slots.incoming(assignment.sha256));
  if (gathered !== null) {
    try {
      const release = openRelease(gathered, ports.ring());
      if (release.digest === assignment.sha256) return release;
    } catch (error) {
      if (!isFault(error)) throw error; // Damaged on disk: fetched again below.
    }
  }
  let bytes: Uint8Array | null = null;
  for (const slot of ['a', 'b'] as const) {
    if (record.slots[slot]?.digest === assignment.sha256)
      bytes = await slots.envelope(slots.slot(slot));
  }
  bytes ??= await ports.fetchEnvelope(assignment);
  const release = openRelease(bytes, ports.ring());
  await fetch.keepEnvelope(assignment.sha256, bytes);
  return release;
}

async function localReleases({
  record,
  slots,
  ports,
}: UpdateDriver): Promise<{ folder: string; files: Release['manifest']['files'] }[]> {
  const found = [];
  for (const slot of ['a', 'b'] as const) {
    if (record.slots[slot] === null) continue;
    const bytes = await slots.envelope(slots.slot(slot));
    if (bytes === null) continue;
    try {
      found.push({
        folder: slots.slot(slot),
        files: openRelease(bytes, ports.ring()).manifest.files,
      });
    } catch (error) {
      if (!isFault(error)) throw error; // A damaged slot is no source of files.
    }
  }
  return found;
}

/** Proof of every byte from disk, then policy. Nothing parses the model before this. */
const downloaded: Work = async (driver) => {
  if (superseded(driver)) return supersededStep;
  const { record, slots, ports } = driver;
  const assignment = assignmentOf(record);
  const envelope = await slots.envelope(slots.incoming(assignment.sha256));
  if (envelope === null)
    throw new Fault('manifest_undecodable', 'the gathered release has lost its envelope');
  const release = openRelease(envelope, ports.ring());
  matchAssignment(release, assignment);
  try {
    await slots.proveFiles(release.manifest, (file) => slots.partial(release.digest, file));
  } catch (error) {
    if (!isFault(error, 'file_digest', 'file_length')) throw error;
    // What does not prove is not kept. A torn write or a bad mirror deserves another fetch; a
    // source that is bad for good, an end.
    await ports.disk.remove(slots.incoming(assignment.sha256));
    const damaged = record.damaged + 1;
    if (damaged >= limits.fetchTriesMaxCount) throw error;
    driver.damagedFetch(error);
    return { event: 'damaged', change: { damaged } };
  }
  admit(release, assignment, record);
  // An order to go back is not refused for want of memory: what it goes back to has run here.
  if (!assignment.rollback) admitMemory(release, await ports.resources.memoryAvailableBytes());
  // From here on the spare slot is being rewritten, so the record no longer claims what it held,
  // unless it is this release.
  const spare = spareOf(record);
  const keeps = record.slots[spare]?.digest === release.digest;
  return {
    event: 'vetted',
    change: { slots: { ...record.slots, [spare]: keeps ? record.slots[spare] : null } },
  };
};

const verified: Work = async (driver) => {
  if (superseded(driver)) return supersededStep;
  const { record, slots, ports } = driver;
  const assignment = assignmentOf(record);
  const spare = spareOf(record);
  const envelope = await slots.envelope(slots.incoming(assignment.sha256));
  if (envelope === null)
    throw new Fault('manifest_undecodable', 'the gathered release has lost its envelope');
  const release = openRelease(envelope, ports.ring());
  await slots.layOut(assignment.sha256, release.manifest, spare);
  return { event: 'laid_out', change: { slots: { ...record.slots, [spare]: refOf(release) } } };
};

/**
 * Golden probes on this device's own processor, in a process of its own; the slot is proven once
 * more just before. On the way back right answers are enough: a device under load must not be kept
 * on a bad release because the good one is slow today.
 */
const staged: Work = async (driver) => {
  if (superseded(driver)) return supersededStep;
  const candidate = await driver.proven(spareOf(driver.record));
  if (candidate === null)
    throw new Fault('file_digest', 'the staged release no longer proves from disk');
  const report = await driver.ports.runtime.probe(candidate);
  const code = report.code ?? 'probe_differs';
  const tolerated =
    assignmentOf(driver.record).rollback && (code === 'probe_slow' || code === 'probe_memory');
  if (!report.passed && !tolerated) throw new Fault(code, report.reasons);
  driver.ports.log.info(
    { component: driver.component, version: candidate.release.version, probe: report.reasons },
    'golden probes passed',
  );
  return { event: 'probed' };
};

/**
 * The swap is the one write that names the spare slot active; requests flip in the next step, and
 * at every start.
 */
const probed: Work = async (driver) => {
  if (superseded(driver)) return supersededStep;
  return { event: 'swapped', change: { active: spareOf(driver.record), modelFaults: 0 } };
};

/**
 * The trial: serve the new release with the old one in its shadow, judge the evidence, confirm or
 * go back.
 */
const swapped: Work = async (driver) => {
  const { record } = driver;
  const assignment = assignmentOf(record);
  if (superseded(driver)) {
    await driver.goBack({
      result: 'rolled_back',
      code: 'trial_withdrawn',
      detail: 'the server withdrew this release during its trial',
    });
    return { waitMs: 0 };
  }
  const current = await driver.installed(record.active);
  if (current === null) {
    await driver.goBack({
      result: 'rolled_back',
      code: 'file_digest',
      detail: 'the new release no longer proves from disk',
    });
    return { waitMs: 0 };
  }
  const old = assignment.rollback ? null : await driver.installed(spareOf(record));
  try {
    await driver.serve(current, old);
  } catch (error) {
    if (!isFault(error)) throw error;
    return modelFault(driver, error);
  }
  if (assignment.rollback) return confirm(driver, 'reverted', 'went back as ordered');
  return judge(driver, assignment, old !== null);
};

async function modelFault(driver: UpdateDriver, error: Fault): Promise<Step> {
  const modelFaults = driver.record.modelFaults + 1;
  if (error.kind === 'refused' || modelFaults >= limits.modelFaultStartsMaxCount) {
    await driver.goBack({
      result: 'rolled_back',
      code: error.kind === 'refused' ? error.code : 'trial_crashes',
      detail: `${error.detail} (start ${modelFaults})`,
    });
    return { waitMs: 0 };
  }
  await driver.note({ modelFaults });
  return TRIAL_LOOK;
}

async function judge(
  driver: UpdateDriver,
  assignment: Assignment,
  replaces: boolean,
): Promise<Step> {
  const { record, ports } = driver;
  const measured = ports.runtime.evidence();
  if (measured === null) return TRIAL_LOOK;
  const evidence = {
    ...measured,
    replaces,
    modelFaults: measured.modelFaults + record.modelFaults,
  };
  const verdict = judgeTrial(evidence, assignment.trial);
  driver.trialReport(evidence, verdict.verdict !== 'measuring');
  if (verdict.verdict === 'measuring') return TRIAL_LOOK;
  const detail = verdict.reasons.join(' ');
  if (verdict.verdict === 'pass') return confirm(driver, 'confirmed', detail);
  await driver.goBack({ result: 'rolled_back', code: verdict.code, detail });
  return { waitMs: 0 };
}

async function confirm(
  driver: UpdateDriver,
  result: 'confirmed' | 'reverted',
  detail: string,
): Promise<Step> {
  const { record } = driver;
  const first = record.first && previousOf(record) === null;
  const change = { floor: assignmentOf(record).version, first };
  await driver.move({ event: 'confirmed', change, outcome: { result, code: null, detail } });
  const current = await driver.installed(driver.record.active);
  if (current !== null) await driver.serve(current, null);
  return { waitMs: 0 };
}

export const work = {
  idle,
  assigned,
  downloaded,
  verified,
  staged,
  probed,
  swapped,
  stranded,
} as const satisfies Record<UpdateState, Work>;
