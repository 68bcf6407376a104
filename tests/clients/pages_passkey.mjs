// Passkeys on the hosted pages, in Chromium with its virtual authenticator. They need a name: the service is at http://localhost.
import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import test, { after, before } from 'node:test';

import { PASSWORD, address, mail, person, sql } from './stage.mjs';
import { accessible, at, close, holdsNoToken, open, send, visitor } from './pages_stage.mjs';

const API = `http://localhost:${process.env.PORT}/auth/v1`;

// Passes everything on to the sidecar, as a proxy of production does.
const proxy = createServer((asked, answer) => {
  const { method, url, headers } = asked;
  const passed = request(`${process.env.AUTH_BEHIND}${url}`, { method, headers }, (came) => {
    answer.writeHead(came.statusCode, came.rawHeaders);
    came.pipe(answer);
  });
  asked.pipe(passed);
});

before(async () => {
  await open();
  await new Promise((resume) => proxy.listen(process.env.PORT, 'localhost', resume));
});
after(async () => {
  await close();
  proxy.closeAllConnections();
  proxy.close();
});

async function device(context, page, isPresent = true, more = {}) {
  const cdp = await context.newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const options = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true,
    automaticPresenceSimulation: isPresent, ...more };
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', { options });
  return { cdp, authenticatorId };
}

async function signIn(page, email) {
  await page.getByLabel('E-mail address').fill(email);
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await send(page, 'Sign in');
}

test('a passkey is registered, signs in by the field or by the button, is renamed and removed', async () => {
  const hostile = '<img src=x onerror=alert(1)>';
  const { email } = await person();
  const { context, page } = await visitor('/sign-in', {}, API);
  let alerted = false;
  page.on('dialog', async (dialog) => { alerted = true; await dialog.dismiss(); });
  await signIn(page, email);
  const { cdp, authenticatorId } = await device(context, page);
  await page.getByRole('link', { name: 'Passkeys' }).click();
  await page.getByRole('button', { name: 'Add a passkey' }).waitFor();
  await accessible(page, 'no passkey');
  await page.getByLabel('Name', { exact: true }).fill(hostile);
  await Promise.all([page.waitForURL(/done=passkey_added/), page.getByRole('button', { name: 'Add a passkey' }).click()]);
  await page.getByText('Your passkey is added.').waitFor();
  await page.getByRole('heading', { name: hostile }).waitFor();
  assert.equal(await page.locator('img').count(), 0);
  await accessible(page, 'a passkey');

  await send(page, 'Sign out');
  // The field offers it, and the person takes it: the virtual device says yes by itself, or the button is pressed.
  const button = page.getByRole('button', { name: 'Use a passkey' });
  await Promise.all([page.waitForURL(/\/account$/), button.click({ timeout: 2000 }).catch(() => {})]);
  await page.getByText(email).first().waitFor();
  await holdsNoToken(page);
  const [{ aal, amr }] = await sql(`select aal, amr -> 0 ->> 'method' as amr from auth.sessions
    where user_id = (select id from auth.users where email = $1) order by created_at desc limit 1`, [email]);
  assert.deepEqual([aal, amr], ['aal2', 'passkey']);

  await page.getByRole('link', { name: 'Passkeys' }).click();
  await page.getByLabel(/^New name/).fill('My phone');
  await send(page, 'Rename');
  await page.getByRole('heading', { name: 'My phone' }).waitFor();
  await page.getByRole('link', { name: 'Remove My phone' }).click();
  await accessible(page, 'removing a passkey');
  await send(page, 'Remove');
  await page.getByText('The passkey is removed.').waitFor();

  // The device still has it; it is nobody's now.
  await cdp.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled: false });
  await send(page, 'Sign out');
  await cdp.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled: true });
  await page.getByRole('button', { name: 'Use a passkey' }).click();
  await page.getByText('That passkey does not work here.').waitFor();
  assert.equal(at(page), '/sign-in');
  assert.equal(alerted, false);
});

// From the button of the sign-up page to the page that follows.
async function signUp(page, email, next) {
  await page.goto(`${API}/sign-up`);
  await page.getByLabel('E-mail address').fill(email);
  await Promise.all([page.waitForURL(next), page.getByRole('button', { name: 'Sign up with a passkey' }).click()]);
  await holdsNoToken(page);
}

test('an account begins with a passkey and no password', async () => {
  const email = address('new');
  const { context, page } = await visitor('/sign-up', {}, API);
  await device(context, page);
  await page.getByRole('button', { name: 'Sign up with a passkey' }).waitFor();
  await accessible(page, 'signing up by passkey');
  await page.getByLabel('E-mail address').fill('no address');
  await page.getByRole('button', { name: 'Sign up with a passkey' }).click();
  await page.getByText('Enter an e-mail address').waitFor();
  assert.equal(at(page), '/sign-up');

  await signUp(page, email, /\/sign-up\/code$/);
  assert.equal(await page.getByLabel('E-mail address').inputValue(), email);
  await page.goto(`${API}/account`);
  assert.equal(at(page), '/sign-in');
  const { code } = await mail(email, /confirm/i);
  await page.goto(`${API}/sign-up/code`);
  await page.getByLabel('Code from the mail').fill('000000');
  await send(page, 'Continue');
  assert.equal(at(page), '/sign-up/code');
  await page.getByLabel('Code from the mail').fill(code);
  await send(page, 'Continue');
  assert.equal(at(page), '/account');
  await send(page, 'Sign out');
  const button = page.getByRole('button', { name: 'Use a passkey' });
  await Promise.all([page.waitForURL(/\/account$/), button.click({ timeout: 2000 }).catch(() => {})]);
  await page.getByText(email).first().waitFor();
  const [{ without }] = await sql('select encrypted_password is null as without from auth.users where email = $1', [email]);
  assert.equal(without, true);

  // Of an address that somebody has the page says the same.
  const other = await visitor('/sign-up', {}, API);
  await device(other.context, other.page);
  await signUp(other.page, email, /\/sign-up\/code$/);
  await mail(email, /already/i);
  const [{ count }] = await sql('select count(*)::int from auth.passkeys as p join auth.users as u on u.id = p.user_id where u.email = $1', [email]);
  assert.equal(count, 1);

  await sql(`select auth.configure('{"signup_mode": "immediate"}')`);
  await signUp(other.page, address('at-once'), /\/account$/);
  await sql(`select auth.configure('{"signup_mode": "confirm", "enable_signup": false}')`);
  await other.page.goto(`${API}/sign-up`);
  assert.equal(await other.page.getByRole('button', { name: 'Sign up with a passkey' }).count(), 0);
  await sql(`select auth.configure('{"enable_signup": true}')`);
});

test('without a script the page signs in by password as ever', async () => {
  const { email } = await person();
  const { page } = await visitor('/sign-in', { javaScriptEnabled: false }, API);
  assert.equal(await page.getByRole('button', { name: 'Use a passkey' }).count(), 0);
  await signIn(page, email);
  await page.getByRole('link', { name: 'Passkeys' }).click();
  await page.getByText('Passkeys need JavaScript.').waitFor();
});

test('the field for the address offers passkeys', async () => {
  const { context, page } = await visitor('/sign-in', {}, API);
  await context.addInitScript(() => {
    globalThis.asked = [];
    const { get } = CredentialsContainer.prototype;
    CredentialsContainer.prototype.get = function (options) {
      globalThis.asked.push(options.mediation);
      return get.call(this, options);
    };
  });
  await page.reload({ waitUntil: 'networkidle' });
  assert.match(await page.getByLabel('E-mail address').getAttribute('autocomplete'), /\bwebauthn$/);
  await page.waitForFunction(() => globalThis.asked.includes('conditional'));
  await accessible(page, 'signing in by passkey');
});

const SECURITY_KEY = { transport: 'usb', hasResidentKey: false, hasUserVerification: false, isUserVerified: false };

test('a security key is added and takes the second step, by keyboard', async () => {
  const hostile = '<img src=x onerror=alert(1)>';
  const { email } = await person();
  const { context, page } = await visitor('/sign-in', {}, API);
  let alerted = false;
  page.on('dialog', async (dialog) => { alerted = true; await dialog.dismiss(); });
  await signIn(page, email);
  // An old session shows the password again; the page asks for it when it has to.
  await sql(`select auth.configure('{"current_password_required": true}')`);
  await sql(`update auth.sessions set created_at = created_at - interval '1 hour'`);
  const { cdp, authenticatorId } = await device(context, page, true, SECURITY_KEY);
  await page.goto(`${API}/account/factors`);
  await page.getByRole('link', { name: 'Add a security key' }).click();
  await page.getByRole('button', { name: 'Add this key' }).waitFor();
  await accessible(page, 'a new key');
  await page.getByLabel('Name', { exact: true }).fill(hostile);
  await page.keyboard.press('Enter');
  await page.getByText('Enter your current password.').waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'current');
  await accessible(page, 'a new key with the password');
  await page.keyboard.type(PASSWORD);
  await Promise.all([page.waitForEvent('domcontentloaded'), page.keyboard.press('Enter')]);
  await page.getByText('I have kept them').waitFor();
  await send(page, 'I have kept them');
  await page.getByText('Your second factor is set up.').waitFor();
  await page.getByRole('heading', { name: hostile }).waitFor();

  await send(page, 'Sign out');
  await signIn(page, email);
  assert.equal(at(page), '/sign-in/second-step');
  await page.locator('strong', { hasText: hostile }).waitFor();
  await accessible(page, 'the step with a key');
  await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false });
  const button = page.getByRole('button', { name: 'Use the security key' });
  await button.waitFor();
  await button.focus();
  await Promise.all([page.waitForURL(/\/account$/), page.keyboard.press('Enter')]);
  await page.getByText(email).first().waitFor();
  await holdsNoToken(page);
  const [{ aal, amr }] = await sql(`select aal, amr -> 1 ->> 'method' as amr from auth.sessions
    where user_id = (select id from auth.users where email = $1) order by created_at desc limit 1`, [email]);
  assert.deepEqual([aal, amr], ['aal2', 'mfa/webauthn']);

  // A counter that goes back is refused, in the words of the page.
  await send(page, 'Sign out');
  await signIn(page, email);
  await sql('update auth.mfa_factors set sign_count = 4000000 where friendly_name = $1', [hostile]);
  await button.click();
  await page.getByText('That security key does not work here.').first().waitFor();
  await accessible(page, 'the step with a key that was refused');
  await page.getByRole('link', { name: 'Use a recovery code' }).click();
  await page.getByRole('link', { name: 'Use the security key instead' }).waitFor();
  await sql('update auth.mfa_factors set sign_count = 0 where friendly_name = $1', [hostile]);
  await page.getByRole('link', { name: 'Use the security key instead' }).click();
  await Promise.all([page.waitForURL(/\/account$/), button.click()]);
  await page.goto(`${API}/account/factors`);
  await page.getByRole('link', { name: /^Remove/ }).click();
  await page.getByText(hostile).first().waitFor();
  await send(page, 'Remove');
  await page.getByText('The factor is removed.').waitFor();
  assert.equal(await page.locator('img').count(), 0);
  assert.equal(alerted, false);
});

test('who has to add a factor may add a security key, and without a script is told', async () => {
  await sql(`select auth.configure('{"mfa_required_roles": ["careful"]}')`);
  const { email } = await person();
  await sql(`update auth.users set raw_app_meta_data = raw_app_meta_data || '{"role": "careful"}' where email = $1`, [email]);
  const { context, page } = await visitor('/sign-in', {}, API);
  await signIn(page, email);
  assert.equal(at(page), '/account/factors/new');
  await page.getByRole('link', { name: 'Use a security key instead' }).click();
  await device(context, page, true, SECURITY_KEY);
  await accessible(page, 'a key that is needed');
  await page.getByRole('button', { name: 'Add this key' }).click();
  await page.getByText('I have kept them').waitFor();
  await send(page, 'I have kept them');
  await page.goto(`${API}/account/factors`);
  await page.getByRole('heading', { name: 'Security key' }).waitFor();

  const { page: plain } = await visitor('/sign-in', { javaScriptEnabled: false }, API);
  await signIn(plain, email);
  assert.equal(at(plain), '/sign-in/second-step');
  await plain.getByText('Security keys need JavaScript.').waitFor();
  await sql(`select auth.configure('{"mfa_required_roles": []}')`);
});
