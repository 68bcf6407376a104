// The web example in Chromium: its own server, its own page, and the mail that it asks for.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import test, { after, before } from 'node:test';
import { fileURLToPath } from 'node:url';

import { API, PASSWORD, address, client, mail, ok, person, refused, service } from './stage.mjs';

const require = createRequire(`${process.env.AUTH_NODE_MODULES}/`);
const { chromium } = require('playwright-core');
const SITE = `http://localhost:${process.env.PORT}`;

let server, browser;

before(async () => {
  const path = fileURLToPath(new URL('../../examples/web/server.mjs', import.meta.url));
  const env = { ...process.env, NODE_MODULES: process.env.AUTH_NODE_MODULES };
  server = spawn(process.execPath, [path], { env, stdio: ['ignore', 'pipe', 'inherit'] });
  await new Promise((resume, fail) => {
    server.stdout.on('data', (said) => String(said).includes(SITE) && resume());
    server.on('exit', () => fail(new Error('the example ended')));
  });
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
});

after(async () => {
  await browser?.close();
  server?.kill();
});

// A browser of its own, at the page.
async function visitor() {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(SITE);
  await page.locator('#outside').waitFor();
  return { context, page };
}

async function fill(page, email, password = PASSWORD) {
  await page.fill('#email', email);
  await page.fill('#password', password);
}

const says = (page, words) => page.locator('#message', { hasText: words }).waitFor();
const inside = (page, email) => page.locator('#who', { hasText: email }).waitFor();

async function signedIn(email) {
  const { context, page } = await visitor();
  await fill(page, email);
  await page.click('#sign-in');
  await inside(page, email);
  return { context, page };
}

test('sign up, confirm, keep a note, sign out', async () => {
  const email = address('ada');
  const { context, page } = await visitor();
  await fill(page, email);
  await page.click('#sign-up');
  await says(page, 'Look into your mail');
  await page.click('#sign-in');
  await says(page, /not confirmed/);

  // Programs that look through mail open every link, with scripts and more than once.
  const { link } = await mail(email, /confirm/i);
  const scanner = await (await browser.newContext()).newPage();
  for (let count = 0; count < 3; count++) {
    await scanner.goto(link, { waitUntil: 'networkidle' });
    assert.equal(new URL(scanner.url()).origin, new URL(link).origin);
    assert.equal(await scanner.locator('button').count(), 1);
  }
  refused(await client().auth.signInWithPassword({ email, password: PASSWORD }), 400, 'email_not_confirmed');

  const opened = await context.newPage();
  await opened.goto(link);
  await opened.click('button');
  await inside(opened, email);
  assert.equal(new URL(opened.url()).origin, SITE);
  assert.equal(new URL(opened.url()).searchParams.get('code'), null);

  await opened.fill('#note', 'the first <b>note</b>');
  await opened.click('#add button');
  await opened.locator('#notes li', { hasText: 'the first <b>note</b>' }).waitFor();
  await opened.reload();
  await opened.locator('#notes li', { hasText: 'the first' }).waitFor();

  await opened.click('#sign-out');
  await says(opened, 'Signed out');
  await opened.locator('#outside').waitFor();
  assert.equal(await opened.locator('#notes li').count(), 0);
  await opened.reload();
  await opened.locator('#outside').waitFor();
  assert.equal(await opened.locator('#inside').isVisible(), false);
});

test('everybody sees their own notes', async () => {
  const [ada, eve] = [await person(), await person()];
  const { page } = await signedIn(ada.email);
  await page.fill('#note', 'for me alone');
  await page.click('#add button');
  await page.locator('#notes li', { hasText: 'for me alone' }).waitFor();
  const other = await signedIn(eve.email);
  await other.page.fill('#note', 'of eve');
  await other.page.click('#add button');
  await other.page.locator('#notes li', { hasText: 'of eve' }).waitFor();
  assert.equal(await other.page.locator('#notes li').count(), 1);
});

test('the data is for whoever has a good token', async () => {
  const { own, session } = await person();
  const notes = async (bearer) => {
    const headers = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` };
    return (await fetch(`${SITE}/notes`, { headers })).status;
  };
  const { access_token } = session;
  assert.equal(await notes(access_token), 200);
  for (const bearer of [undefined, '', 'nonsense', `${access_token.slice(0, -8)}AAAAAAAA`]) assert.equal(await notes(bearer), 401);
  ok(await own.auth.signOut());
  assert.equal(await notes(access_token), 401);
});

test('a page whose session was ended elsewhere shows nothing more', async () => {
  const { own, email } = await person();
  const { page } = await signedIn(email);
  ok(await own.auth.signOut());
  await page.fill('#note', 'too late');
  await page.click('#add button');
  await page.locator('#outside').waitFor();
});

test('a mailed link signs in', async () => {
  const { email } = await person();
  const { context, page } = await visitor();
  await page.fill('#email', email);
  await page.click('#mail-link');
  await says(page, 'Look into your mail');
  const opened = await context.newPage();
  await opened.goto((await mail(email, /sign/i)).link);
  await opened.click('button');
  await inside(opened, email);
  const again = await context.newPage();
  await again.goto(`${API}/verify?token=nonsense&type=magiclink&redirect_to=${encodeURIComponent(SITE)}`);
  await says(again, /not valid/);
});

const ELSEWHERE = [
  'https://evil.example/', '//evil.example', '/\\evil.example', 'https:evil.example', `${SITE}@evil.example/`, `${SITE}.evil.example/`,
  'http://localhost:1/', `${SITE}/%2e%2e//evil.example`, `${SITE}\\@evil.example`, `${SITE}/\t/evil.example`, 'javascript:alert(1)',
  `http://evil.example#${SITE}`, `http://evil.example?${SITE}`, `data:text/html,<script>location='https://evil.example'</script>`,
  `${SITE}/..;/x`, `HTTP://LOCALHOST:${process.env.PORT}/%0d%0alocation:https://evil.example`,
];

const HERE = [
  [SITE, '/'], [`${SITE}/welcome`, '/welcome'], [`HTTP://LOCALHOST:${process.env.PORT}/welcome`, '/welcome'],
  [`${SITE}/a?next=https://evil.example/`, '/a'],
];

test('every redirect lands at the app', async () => {
  const { email } = await person();
  const { page } = await visitor();
  const { admin } = service().auth;
  const follow = async (redirectTo) => {
    const { properties } = ok(await admin.generateLink({ type: 'magiclink', email, options: { redirectTo } }));
    await page.goto(properties.action_link);
    await Promise.all([page.waitForURL((url) => !url.href.startsWith(API)), page.click('button')]);
    return new URL(page.url());
  };
  for (const [target, path] of HERE) {
    const { origin, pathname } = await follow(target);
    assert.deepEqual([origin, pathname], [SITE, path], target);
  }
  for (const target of ELSEWHERE) {
    // With a link that is nothing: the error is shown where the link says, if that is allowed.
    await page.goto(`${API}/verify?token=nonsense&type=signup&redirect_to=${encodeURIComponent(target)}`);
    assert.equal(new URL(page.url()).origin, SITE, target);
    // A good one is not made.
    refused(await admin.generateLink({ type: 'magiclink', email, options: { redirectTo: target } }), 400, 'redirect_not_allowed');
  }
});
