// HTTP answers that are no success: whose error it is, and which code the Fault carries.
import { expect, it } from 'vitest';
import { limits } from '../../../shared/base/limits.js';
import { refusalFault, serverFault } from '../../../shared/platform/http-refusal.js';

const body = (error: string, code: string): string => JSON.stringify({ error, code, todo: 'wait' });

it('error_of_the_fleet_server_is_told_as_the_server_said_it', () => {
  const fault = serverFault({ status: 409, body: body('the name is taken', 'conflict') });
  expect([fault?.code, fault?.detail]).toEqual(['conflict', 'the name is taken']);
});

it.each([
  ['unknown_code', body('later', 'of_a_newer_server')],
  ['no_code', '{"error":"later"}'],
  ['no_text', '{"code":"conflict"}'],
  ['page_of_a_proxy', '<html>'],
  ['wrong_types', '{"error":1,"code":"conflict"}'],
  ['bytes_that_are_not_utf8', Uint8Array.of(0xff)],
])('answer_with_%s_is_not_an_error_of_the_fleet_server', (_, given) => {
  expect(serverFault({ status: 409, body: given })).toBeNull();
  expect(refusalFault({ status: 409, body: given }, '/x').code).toBe('conflict');
});

it('refusal_that_the_server_names_keeps_its_code_and_says_who_answered_what', () => {
  const fault = refusalFault({ status: 403, body: body('used up', 'claim_invalid') }, 'http://f/x');
  expect(fault.code).toBe('claim_invalid');
  expect(fault.detail).toBe('http://f/x answered 403 used up (claim_invalid)');
});

it.each([
  ['temporary_code_of_a_client_error', 400, body('busy', 'disk_full'), 'message_undecodable'],
  [
    'refusal_with_the_status_of_a_broken_server',
    503,
    body('x', 'auth_denied'),
    'server_unreachable',
  ],
  ['bug_of_the_server', 500, body('oh', 'internal'), 'server_unreachable'],
  ['gone', 410, '', 'not_found'],
  ['too_many_requests', 429, '', 'server_unreachable'],
  ['informational', 101, '', 'server_unreachable'],
])('%s_gets_the_code_of_its_status', (_, status, given, code) => {
  expect(refusalFault({ status, body: given }, '/x').code).toBe(code);
});

it('foreign_body_is_quoted_on_one_line_and_cut', () => {
  const page = `<html>\n  ${'x'.repeat(limits.quotedMaxChars)}`;
  const { detail } = refusalFault({ status: 502, body: page }, '/x');
  expect(detail).toMatch(/^\/x answered 502 \(not by a fleet server: <html> x+\)$/);
  expect(detail.length).toBeLessThan(limits.quotedMaxChars + 60);
});

it('location_is_named_for_a_redirect_only', () => {
  const to = (status: number): string =>
    refusalFault({ status, body: '', location: 'https://f/y' }, '/x').detail;
  expect(to(302)).toMatch(/redirects to Location https:\/\/f\/y/);
  expect(to(401)).toBe('/x answered 401');
});
