// What the scenarios of the hosted pages stand on: browsers of their own, an authenticator app, and a checker of accessibility.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { createRequire } from 'node:module';

import { API, PASSWORD } from './stage.mjs';

const require = createRequire(`${process.env.AUTH_NODE_MODULES}/`);
const { chromium } = require('playwright-core');
const AXE = require.resolve('axe-core');

let browser;

export async function open() {
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
}

export const close = () => browser?.close();

// A browser of its own, at a page of ours.
export async function visitor(path = '/sign-in', options = {}, api = API) {
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(`${api}${path}`);
  return { context, page };
}

export const at = (page) => new URL(page.url()).pathname.replace('/auth/v1', '');

// A form is sent and the next page is there.
export async function send(page, button) {
  await Promise.all([page.waitForEvent('domcontentloaded'), page.getByRole('button', { name: button, exact: true }).click()]);
}

export async function signIn(page, email, password = PASSWORD) {
  await page.getByLabel('E-mail address').fill(email);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await send(page, 'Sign in');
}

// What the summary of errors says; it leads to the field, which is marked.
export async function problem(page) {
  const summary = page.getByRole('alert');
  const link = summary.getByRole('link');
  const target = (await link.getAttribute('href')).slice(1);
  const field = page.locator(`#${target}`);
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  assert.match(await field.getAttribute('aria-describedby'), new RegExp(`\\b${target}-problem\\b`));
  assert.match(await page.title(), /^(Error|Fehler):/);
  return (await link.textContent()).trim();
}

// RFC 6238 from a key in base32, as a person types it from the page.
export function totp(key, steps = 0) {
  const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
  let bits = '';
  for (const letter of key.replaceAll(' ', '')) bits += letters.indexOf(letter).toString(2).padStart(5, '0');
  const secret = Buffer.from(bits.match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const digest = createHmac('sha1', secret).update(counter).digest();
  const offset = digest[19] & 15;
  return String((digest.readUInt32BE(offset) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

export function wrong(key) {
  const near = [-3, -2, -1, 0, 1, 2, 3].map((steps) => totp(key, steps));
  return ['000000', '111111', '222222', '333333', '444444', '555555', '666666', '777777'].find((code) => !near.includes(code));
}

// WCAG 2.2 AA and what is held to be good beside it.
export async function accessible(page, what = at(page)) {
  // The checker is a script: the page's policy is for pages, so it comes by the driver.
  await page.evaluate(require('node:fs').readFileSync(AXE, 'utf8'));
  const { violations } = await page.evaluate(async () => {
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
    return globalThis.axe.run(document, { runOnly: { type: 'tag', values: tags } });
  });
  const said = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`);
  assert.deepEqual(said, [], what);
  assert.equal(await page.locator('h1').count(), 1, what);
}

// What nobody finds on a page or in its address.
export async function holdsNoToken(page) {
  const text = `${page.url()}\n${await page.content()}`;
  assert.doesNotMatch(text, /eyJ[\w-]+\.eyJ|access_token|refresh_token/);
  for (const { name, value } of await page.context().cookies()) {
    if (name.startsWith('auth-pages-') && !name.endsWith('flow')) assert.ok(!text.includes(value), name);
  }
}
