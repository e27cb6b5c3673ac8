// Chromium for tests of the console: Debian's own, driven by playwright-core. Where it is not
// installed these tests are skipped, and say so. What a person does by keyboard goes through Tab,
// typing and Enter only.
import { existsSync } from 'node:fs';
import axeCore from 'axe-core';
import { chromium, type Browser, type Page } from 'playwright-core';
import { expect } from 'vitest';

const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const TABS_MAX_COUNT = 300;

/** Null: no browser is installed here. */
export const chromiumPath: string | null =
  process.env['LINNET_CHROMIUM'] ?? PLACES.find((path) => existsSync(path)) ?? null;
if (chromiumPath === null)
  console.log('console tests are skipped: no chromium (apt-get install chromium)');

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: chromiumPath ?? '',
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
  });

export const DESKTOP = { width: 1280, height: 800 };
export const PHONE = { width: 360, height: 740 };

export interface Visit {
  readonly page: Page;
  /** What the browser complained about: errors of scripts, and what the policy forbade. */
  readonly complaints: string[];
  readonly close: () => Promise<void>;
}

export async function visit(
  browser: Browser,
  options: { viewport?: typeof DESKTOP; colorScheme?: 'light' | 'dark' } = {},
): Promise<Visit> {
  const context = await browser.newContext({ viewport: DESKTOP, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    // A refused request is logged by the browser itself; the tests look at what the page says.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
      complaints.push(message.text());
  });
  return { page, complaints, close: () => context.close() };
}

/** The name by which the focused element is announced, roughly. Code of the page is text here. */
const FOCUSED_NAME = `(() => {
  const element = document.activeElement;
  if (element === null || element === document.body) return '';
  const label = [...(element.labels ?? [])].map(({ textContent }) => textContent).join(' ');
  return (element.getAttribute('aria-label') ?? (label || element.textContent || '')).trim();
})()`;

/** Presses Tab until something with this name has the focus. */
export async function tabTo(page: Page, name: string | RegExp): Promise<void> {
  const seen: string[] = [];
  for (let tabs = 0; tabs < TABS_MAX_COUNT; tabs++) {
    const focused = await page.evaluate<string>(FOCUSED_NAME);
    if (typeof name === 'string' ? focused === name : name.test(focused)) return;
    seen.push(focused.slice(0, 30));
    await page.keyboard.press('Tab');
  }
  throw new Error(`Tab never came to ${String(name)}: ${[...new Set(seen)].join(' | ')}`);
}

export async function press(page: Page, name: string | RegExp): Promise<void> {
  await tabTo(page, name);
  await page.keyboard.press('Enter');
}

export async function signIn(page: Page, address: string, token: string): Promise<void> {
  await page.goto(`${address}/console`);
  await page.getByLabel('Operator token').waitFor();
  await page.keyboard.type(token);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'Fleet' }).waitFor();
}

const VIOLATIONS = `axe.run(document).then(({ violations }) =>
  violations.map(({ id, nodes }) =>
    id + ': ' + nodes.map(({ html }) => html.slice(0, 150)).join(' | ')))`;

/** Violations that axe-core finds, one line each. */
export async function axe(page: Page): Promise<string[]> {
  await page.evaluate(axeCore.source);
  return page.evaluate<string[]>(VIOLATIONS);
}

/** Elements that reach beyond the window, when the page is wider than it; one line each. */
const OVERFLOWING = `(() => {
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth <= clientWidth) return [];
  return [...document.querySelectorAll('main *')]
    .filter((element) => element.closest('.scroll') === null)
    .filter((element) => element.getBoundingClientRect().right > clientWidth)
    .map((element) => element.outerHTML.slice(0, 120));
})()`;

/** No page is wider than its window. */
export async function expectNoOverflow(page: Page): Promise<void> {
  expect(await page.evaluate<string[]>(OVERFLOWING), page.url()).toEqual([]);
}
