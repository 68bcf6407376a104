// Passkeys in Chromium, with its virtual authenticators: Supabase's client, unmodified, in a page at http://localhost.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import test, { after, before } from 'node:test';

import { ANON, PASSWORD, URL_, address, claims, service, sql } from './stage.mjs';

const require = createRequire(`${process.env.AUTH_NODE_MODULES}/`);
const { chromium } = require('playwright-core');
const { verifyAuthenticationResponse, verifyRegistrationResponse } = require('@simplewebauthn/server');
const SITE = `http://localhost:${process.env.PORT}`;
const SCRIPT = readFileSync(`${process.env.AUTH_NODE_MODULES}/@supabase/supabase-js/dist/umd/supabase.js`);

let server, browser;

before(async () => {
  server = createServer((request, response) => {
    const isScript = request.url === '/supabase.js';
    response.setHeader('content-type', isScript ? 'text/javascript' : 'text/html');
    response.end(isScript ? SCRIPT : '<!doctype html><title>app</title><script src="/supabase.js"></script>');
  });
  await new Promise((resume) => server.listen(Number(process.env.PORT), 'localhost', resume));
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
});

after(async () => {
  await browser?.close();
  server?.close();
});

// A browser of its own with one authenticator; what passes between page and service is kept.
async function visitor(authenticator = {}) {
  const page = await (await browser.newContext()).newPage();
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const options = {
    protocol: 'ctap2',
    transport: 'internal',
    hasResidentKey: true,
    hasUserVerification: true,
    isUserVerified: true,
    automaticPresenceSimulation: true,
    ...authenticator,
  };
  await cdp.send('WebAuthn.addVirtualAuthenticator', { options });
  const passed = {};
  page.on('response', (response) => {
    const path = new URL(response.url()).pathname.split('/passkeys/')[1];
    if (path && response.request().method() === 'POST') {
      passed[path] = { sent: response.request().postDataJSON(), answer: response.json().catch(() => null) };
    }
  });
  await page.goto(SITE);
  await page.evaluate(([url, key]) => {
    window.auth = window.supabase.createClient(url, key, { auth: { autoRefreshToken: false } }).auth;
  }, [URL_, ANON]);
  return { page, passed };
}

// Calls the client in the page; an error comes as what it says.
const call = (page, path, ...args) =>
  page.evaluate(async ([path, args]) => {
    const names = path.split('.');
    const last = names.pop();
    const holder = names.reduce((holder, name) => holder[name], window.auth);
    const { data, error } = await holder[last](...args);
    return { data, error: error && { code: error.code, status: error.status, name: error.name, message: error.message } };
  }, [path, args]);

async function ok(answer) {
  const { data, error } = await answer;
  assert.equal(error, null, JSON.stringify(error));
  return data;
}

test('register, sign in without an address, rename, delete', async () => {
  const { page, passed } = await visitor();
  const email = address('ada');
  const { user } = await ok(call(page, 'signUp', { email, password: PASSWORD }));
  const made = await ok(call(page, 'registerPasskey'));
  assert.ok(made.id && made.created_at);

  // Another library says the same of what the browser made.
  const expected = { expectedOrigin: SITE, expectedRPID: 'localhost' };
  const registration = await verifyRegistrationResponse({
    response: passed['registration/verify'].sent.credential,
    expectedChallenge: (await passed['registration/options'].answer).options.challenge,
    ...expected,
  });
  assert.ok(registration.verified);

  const name = '<img src=x onerror=alert(1)>';
  assert.equal((await ok(call(page, 'passkey.update', { passkeyId: made.id, friendlyName: name }))).friendly_name, name);
  const again = await call(page, 'registerPasskey');
  assert.ok(again.error, 'the account has one on this authenticator, and its session is of one factor');
  await ok(call(page, 'signOut'));

  const { session } = await ok(call(page, 'signInWithPasskey'));
  assert.equal(session.user.id, user.id);
  assert.deepEqual([claims(session).aal, claims(session).amr[0].method], ['aal2', 'passkey']);
  const assertion = await verifyAuthenticationResponse({
    response: passed['authentication/verify'].sent.credential,
    expectedChallenge: (await passed['authentication/options'].answer).options.challenge,
    credential: registration.registrationInfo.credential,
    ...expected,
  });
  assert.ok(assertion.verified);

  // What was answered once is not answered again.
  const { challenge_id: challengeId, credential } = passed['authentication/verify'].sent;
  const replay = await call(page, 'passkey.verifyAuthentication', { challengeId, credential });
  assert.deepEqual([replay.error.status, replay.error.code], [400, 'webauthn_challenge_expired']);

  const twice = await call(page, 'registerPasskey');
  assert.ok(twice.error, 'the authenticator knows the account by excludeCredentials');
  const [listed, ...others] = await ok(call(page, 'passkey.list'));
  assert.deepEqual([others, listed.id, listed.friendly_name], [[], made.id, name]);
  assert.ok(listed.last_used_at);
  const seen = await service().auth.admin.passkey.listPasskeys({ userId: user.id });
  assert.equal(seen.error, null);
  assert.equal(seen.data[0].id, made.id);
  await ok(call(page, 'passkey.delete', { passkeyId: made.id }));
  assert.deepEqual(await ok(call(page, 'passkey.list')), []);
  const gone = await call(page, 'signInWithPasskey');
  assert.deepEqual([gone.error.status, gone.error.code], [400, 'webauthn_verification_failed']);
});

test('an authenticator that verifies nobody is one factor', async () => {
  await sql(`select auth.configure('{"webauthn_user_verification": "discouraged"}')`);
  const { page } = await visitor();
  const email = address('bob');
  const { user } = await ok(call(page, 'signUp', { email, password: PASSWORD }));
  const made = await ok(call(page, 'registerPasskey'));
  await ok(call(page, 'signOut'));
  const { session } = await ok(call(page, 'signInWithPasskey'));
  assert.deepEqual([session.user.id, claims(session).aal], [user.id, 'aal1']);
  const removed = await service().auth.admin.passkey.deletePasskey({ userId: user.id, passkeyId: made.id });
  assert.equal(removed.error, null);
  assert.deepEqual(await ok(call(page, 'passkey.list')), []);
});

const SECURITY_KEY = { transport: 'usb', hasResidentKey: false, hasUserVerification: false, isUserVerified: false };

test('a security key is the second factor', async () => {
  const { page } = await visitor(SECURITY_KEY);
  const email = address('eve');
  await ok(call(page, 'signUp', { email, password: PASSWORD }));
  const site = { rpId: 'localhost', rpOrigins: [SITE] };
  const made = await ok(call(page, 'mfa.webauthn.register', { friendlyName: 'My key', webauthn: site }));
  assert.deepEqual(claims(made).amr.map((one) => one.method), ['password', 'mfa/webauthn']);
  assert.equal(made.recovery_codes, undefined, 'the client would keep them in the browser');
  // The key knows the account by excludeCredentials.
  const twice = await call(page, 'mfa.webauthn.register', { friendlyName: 'The same', webauthn: site });
  assert.ok(twice.error);
  await ok(call(page, 'signOut'));

  const { session } = await ok(call(page, 'signInWithPassword', { email, password: PASSWORD }));
  assert.deepEqual([claims(session).aal, claims(session).role], ['aal1', 'anon']);
  const { webauthn } = await ok(call(page, 'mfa.listFactors'));
  assert.deepEqual(webauthn.map((factor) => factor.friendly_name), ['My key']);
  const factorId = webauthn[0].id;
  const raised = await ok(call(page, 'mfa.webauthn.authenticate', { factorId, webauthn: site }));
  assert.deepEqual([claims(raised).aal, claims(raised).role], ['aal2', 'authenticated']);
  const level = await ok(call(page, 'mfa.getAuthenticatorAssuranceLevel'));
  assert.deepEqual([level.currentLevel, level.nextLevel], ['aal2', 'aal2']);

  // A key of nobody signs nothing here.
  const stranger = await visitor(SECURITY_KEY);
  await ok(call(stranger.page, 'signInWithPassword', { email, password: PASSWORD }));
  const refused = await call(stranger.page, 'mfa.webauthn.authenticate', { factorId, webauthn: { ...site, signal: undefined } });
  assert.ok(refused.error);
  await ok(call(page, 'mfa.unenroll', { factorId }));
  const { all } = await ok(call(page, 'mfa.listFactors'));
  assert.deepEqual(all.map((factor) => factor.status), ['unverified']);
});
