// How descriptors are shared between the listeners, and who is a trusted proxy.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { isNetwork, trustedProxies } from '../../../server/access/connection-limits.js';
import { listenerLimits, openFilesMaxCount } from '../../../server/access/open-files.js';
import { limits } from '../../../shared/base/limits.js';
import { tempFolder } from '../../support/temp-folders.js';

test('without_a_low_limit_of_descriptors_the_listeners_get_all_of_theirs', () => {
  for (const openFiles of [null, 1_000_000]) {
    const { http, mqtt } = listenerLimits(openFiles);
    expect(http).toEqual({
      maxCount: limits.httpConnectionsMaxCount,
      perAddressMaxCount: limits.httpConnectionsPerAddressMaxCount,
    });
    expect(mqtt).toEqual({
      maxCount: limits.mqttClientsMaxCount,
      perAddressMaxCount: limits.mqttLoginsPerAddressMaxCount,
    });
  }
});

test.each([400, 1024, 4096])('of_%i_descriptors_enough_are_left_for_files', (openFiles) => {
  const { http, mqtt } = listenerLimits(openFiles);
  // Each HTTP connection may be served a file.
  expect(2 * http.maxCount + mqtt.maxCount + limits.openFilesReservedCount).toBeLessThanOrEqual(
    openFiles,
  );
  for (const { maxCount, perAddressMaxCount } of [http, mqtt])
    expect(perAddressMaxCount).toBeLessThanOrEqual(maxCount / 2);
});

test('even_with_too_few_descriptors_a_listener_takes_a_connection', () => {
  expect(listenerLimits(50).http).toEqual({ maxCount: 1, perAddressMaxCount: 1 });
});

test('limit_of_descriptors_is_read_from_the_system', () => {
  const file = join(tempFolder(), 'limits');
  writeFileSync(
    file,
    'Max processes   5  5  processes\nMax open files            400    800  files\n',
  );
  expect(openFilesMaxCount(file)).toBe(400);
  writeFileSync(file, 'Max open files            unlimited    unlimited  files\n');
  expect(openFilesMaxCount(file)).toBeNull();
  expect(openFilesMaxCount(`${file}.absent`)).toBeNull();
});

test('proxies_are_trusted_by_address_and_by_network', () => {
  const isTrusted = trustedProxies(['10.0.0.0/8', '192.0.2.1', 'fd00::/8']);
  expect(
    ['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.1', '192.0.2.2', 'fd12::1', '2001:db8::1'].map(
      isTrusted,
    ),
  ).toEqual([true, true, true, false, true, false]);
  expect(trustedProxies([])('127.0.0.1')).toBe(false);
});

test('what_is_no_network_is_refused', () => {
  expect(
    ['10.0.0.0/8', '::1', '10.0.0.0/33', '10.0.0', 'fd00::/129', 'proxy'].map(isNetwork),
  ).toEqual([true, true, false, false, false, false]);
});
