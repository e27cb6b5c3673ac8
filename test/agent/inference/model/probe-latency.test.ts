// Whose fault a slow probe is: the release's, or the device's load.
import { describe, expect, it } from 'vitest';
import { probeLatency } from '../../../../agent/inference/model/probe-latency.js';

const runs = (count: number, ms: number): number[] => Array.from({ length: count }, () => ms);

describe('the latency of a probe', () => {
  it('of_a_release_that_computes_all_the_time_is_its_own', () => {
    expect(probeLatency(runs(200, 600), 200 * 600)).toEqual({ p99: 600, alone: 600 });
  });

  it('on_a_device_whose_cpu_others_use_nine_tenths_of_is_a_tenth', () => {
    const { p99, alone } = probeLatency(runs(200, 600), 200 * 60);
    expect(p99).toBe(600);
    expect(alone).toBeCloseTo(60);
  });

  it('of_a_release_that_is_slow_on_one_input_of_ten_stays_slow_on_a_quiet_device', () => {
    const latencies = [...runs(180, 100), ...runs(20, 600)];
    expect(probeLatency(latencies, 180 * 100 + 20 * 600).alone).toBe(600);
  });

  it('of_a_release_with_four_threads_is_not_made_longer', () => {
    expect(probeLatency(runs(200, 100), 200 * 400).alone).toBe(100);
  });

  it('leaves_out_the_two_slowest_of_two_hundred_runs', () => {
    expect(probeLatency([...runs(198, 5), 900, 900], 198 * 5 + 1800).p99).toBe(5);
  });

  it('without_any_measured_cpu_time_is_no_number_above_the_contract', () => {
    expect(probeLatency(runs(3, 7), 0).alone).toBeLessThan(1e-6);
  });
});
