// What a sign-in on the hosted pages may still wait for, in Chromium: a code by SMS, a new password, a first factor. And what the
// account's own pages list.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import test, { after, before } from 'node:test';

import { API, PASSWORD, mail, ok, person, sms, sql } from './stage.mjs';
import { accessible, at, close, holdsNoToken, open, problem, send, signIn, totp, visitor, wrong } from './pages_stage.mjs';

// The app that people are sent to after signing in.
const app = createServer((_, answer) => answer.end('the app'));

before(async () => {
  await open();
  await new Promise((resume) => app.listen(new URL(process.env.AUTH_SITE).port, 'localhost', resume));
});
after(async () => {
  await close();
  app.closeAllConnections();
  app.close();
});

const INSIDE = ['/account', '/account/sessions', '/account/factors', '/account/factors/new', '/account/factors/remove',
  '/account/passkeys', '/account/password'];

// Before a sign-in is finished every page of the account is the page of what it waits for, and says nothing of the account.
async function waitsAt(page, step, email) {
  assert.equal(at(page), step);
  await accessible(page, step);
  await holdsNoToken(page);
  for (const path of INSIDE.filter((inside) => inside !== step)) {
    await page.goto(`${API}${path}`);
    assert.equal(at(page), step, path);
    const text = await page.content();
    assert.ok(!text.includes('Signed in') && !text.includes('Ways to sign in'), path);
    if (step === '/sign-in/second-step') assert.ok(!text.includes(email), path);
  }
}

// What a form of the account's pages does in this session, asked for without its page.
async function post(page, path, fields = {}) {
  const answer = await page.request.post(`${API}${path}`, { form: fields, headers: { origin: new URL(API).origin }, maxRedirects: 0 });
  return [answer.status(), (answer.headers().location ?? '').replace('/auth/v1', '')];
}

// Of forms that change something none does before a sign-in is finished.
async function doesNothing(page, step) {
  const nobody = '00000000-0000-0000-0000-000000000000';
  for (const [path, fields] of [
    ['/account/sessions/revoke-others', {}], ['/account/sessions/revoke', { id: nobody }], ['/account/factors/remove', { id: nobody }],
    ['/account/factors/recovery-codes', {}], ['/account/factors/new', { name: 'mine' }],
    ['/account/password', { password: 'a wholly new password' }],
  ].filter(([path]) => path !== step)) {
    assert.deepEqual(await post(page, path, fields), [303, step], path);
  }
}

let numbers = 20000;

async function withPhone() {
  const { own, email } = await person();
  const phone = `+49151123${numbers++}`;
  const { id } = ok(await own.auth.mfa.enroll({ factorType: 'phone', phone }));
  const challenge = ok(await own.auth.mfa.challenge({ factorId: id }));
  ok(await own.auth.mfa.verify({ factorId: id, challengeId: challenge.id, code: (await sms(phone)).code }));
  return { own, email, phone };
}

const other = (code) => code.replace(/./g, (digit) => (digit === '9' ? '0' : `${Number(digit) + 1}`));

async function leave(page, email) {
  await send(page, 'Sign out');
  await signIn(page, email);
}

async function textsTo(phone) {
  const [{ count }] = await sql("select count(*)::int from auth.outbox where channel = 'sms' and recipient = $1", [phone]);
  return count;
}

for (const javaScriptEnabled of [true, false]) {
  test(`the second step by SMS, ${javaScriptEnabled ? 'with' : 'without'} scripts`, async () => {
    const { own, email, phone } = await withPhone();
    const seen = await visitor();
    await signIn(seen.page, email);
    await waitsAt(seen.page, '/sign-in/second-step', email);
    await doesNothing(seen.page, '/sign-in/second-step');
    ok(await own.auth.refreshSession());

    const { page } = await visitor('/sign-in', { javaScriptEnabled });
    await signIn(page, email);
    await page.getByText(`We send a code to the phone number …${phone.slice(-2)}`).waitFor();
    assert.ok(!(await page.content()).includes(phone.slice(-6)));
    await send(page, 'Send the code');
    await page.getByText('We have sent you a code.').waitFor();
    const { code } = await sms(phone);
    // A slip of the finger needs no second SMS.
    await page.getByLabel('Code of six digits').fill(other(code));
    await send(page, 'Continue');
    assert.match(await problem(page), /wrong or was used/);
    await page.getByLabel('Code of six digits').fill(code);
    await send(page, 'Continue');
    assert.equal(at(page), '/account');
    await page.getByText(email).first().waitFor();
    await page.getByRole('link', { name: 'Second step' }).click();
    await send(page, 'Make new recovery codes');
    const [first] = await page.locator('.codes code').allTextContents();
    await send(page, 'I have kept them');

    // What took too long is sent for again.
    await leave(page, email);
    await send(page, 'Send the code');
    const late = await sms(phone);
    await sql('update auth.mfa_challenges set expires_at = now()');
    await page.getByLabel('Code of six digits').fill(late.code);
    await send(page, 'Continue');
    await page.getByRole('alert').getByText('That took too long.').waitFor();
    await page.getByRole('button', { name: 'Send the code' }).waitFor();

    // Whoever has a recovery code is sent nothing, and needs to wait for nothing.
    await sql(`select auth.configure('{"verification_resend_interval": 60}')`);
    await send(page, 'Send the code');
    await page.getByText('We have sent you a code.').waitFor();
    const before = await textsTo(phone);
    await page.getByRole('link', { name: 'Use a recovery code' }).click();
    await page.getByLabel('Recovery code').fill(first);
    await send(page, 'Continue');
    assert.equal(at(page), '/account');
    assert.equal(await textsTo(phone), before);
    await leave(page, email);
    await send(page, 'Send the code');
    await page.getByRole('alert').getByText('There were too many messages.').waitFor();
    await send(page, 'Cancel signing in');
    assert.equal(at(page), '/sign-in');
    await sql(`select auth.configure('{"verification_resend_interval": 0}')`);
  });
}

test('a code by SMS is asked for where people can read it', async () => {
  const { email, phone } = await withPhone();
  const { page } = await visitor();
  await signIn(page, email);
  await accessible(page, 'before the SMS');
  await send(page, 'Send the code');
  await accessible(page, 'after the SMS');
  await page.getByLabel('Code of six digits').fill(other((await sms(phone)).code));
  await send(page, 'Continue');
  await accessible(page, 'a wrong code by SMS');
  await sql('update auth.mfa_challenges set expires_at = now()');
  await page.getByLabel('Code of six digits').fill('123456');
  await send(page, 'Continue');
  await accessible(page, 'a code by SMS that took too long');
});

async function mustChange(email) {
  await sql(`insert into auth.password_state (user_id, must_change) select id, true from auth.users where email = $1
    on conflict (user_id) do update set must_change = true`, [email]);
}

test('a password that has to be changed is changed before anything else', async () => {
  const { own, email } = await person();
  await mustChange(email);
  const site = process.env.AUTH_SITE;
  const { page } = await visitor(`/sign-in?redirect_to=${encodeURIComponent(`${site}/welcome`)}`);
  await signIn(page, email);
  await waitsAt(page, '/account/password', email);
  await doesNothing(page, '/account/password');
  ok(await own.auth.refreshSession());

  await page.goto(`${API}/account/password`);
  await page.getByText('Your password has to be changed before you go on.').waitFor();
  assert.equal(await page.getByLabel('Current password').count(), 0);
  assert.equal(await page.getByRole('navigation').count(), 0);
  for (const [password, said] of [['short', /longer/], [PASSWORD, /old password/]]) {
    await page.getByLabel('New password').fill(password);
    await send(page, 'Change password');
    assert.match(await problem(page), said);
    await accessible(page, `refused: ${said}`);
    await page.goto(`${API}/account`);
    assert.equal(at(page), '/account/password');
  }
  await page.getByLabel('New password').fill('a wholly new password');
  await send(page, 'Change password');
  assert.equal(page.url(), `${site}/welcome`);
  await page.goto(`${API}/account`);
  await page.getByText(email).first().waitFor();
  await leave(page, email);
  assert.match(await problem(page), /wrong/);
  await signIn(page, email, 'a wholly new password');
  assert.equal(at(page), '/account');
});

test('the second step comes before the new password', async () => {
  const { email, phone } = await withPhone();
  await mustChange(email);
  const { page } = await visitor();
  await signIn(page, email);
  await waitsAt(page, '/sign-in/second-step', email);
  assert.deepEqual(await post(page, '/account/password', { password: 'a wholly new password' }), [303, '/sign-in/second-step']);
  await page.goto(`${API}/sign-in/second-step`);
  await send(page, 'Send the code');
  await page.getByLabel('Code of six digits').fill((await sms(phone)).code);
  await send(page, 'Continue');
  await waitsAt(page, '/account/password', email);
  await page.goto(`${API}/account/password`);
  await page.getByLabel('New password').fill('a wholly new password');
  await send(page, 'Change password');
  assert.equal(at(page), '/account');
});

test('who must have a second factor sets it up before anything else', async () => {
  const site = process.env.AUTH_SITE;
  const { own, email } = await person();
  await sql(`update auth.users set raw_app_meta_data = raw_app_meta_data || '{"role": "moderator"}' where email = $1`, [email]);
  const { page } = await visitor(`/sign-in?redirect_to=${encodeURIComponent(`${site}/welcome`)}`);
  await signIn(page, email);
  await waitsAt(page, '/account/factors/new', email);
  await doesNothing(page, '/account/factors/new');
  ok(await own.auth.refreshSession());

  await page.goto(`${API}/account/factors/new`);
  assert.equal(await page.getByRole('navigation').count(), 0);
  await send(page, 'Continue');
  const key = await page.locator('#key').textContent();
  await page.getByLabel('Code of six digits').fill(wrong(key));
  await send(page, 'Confirm');
  assert.match(await problem(page), /wrong/);
  await accessible(page, 'a wrong first code');
  // A factor that is not confirmed is none.
  await waitsAt(await page.goto(`${API}/account/factors/new`).then(() => page), '/account/factors/new', email);
  await page.goto(`${API}/account/factors/new`);
  await page.getByLabel('Name').fill('Another phone');
  await send(page, 'Continue');
  const second = await page.locator('#key').textContent();
  await page.getByLabel('Code of six digits').fill(totp(second));
  await send(page, 'Confirm');
  assert.equal((await page.locator('.codes code').allTextContents()).length, 10);
  await accessible(page, 'the first recovery codes');
  await send(page, 'I have kept them');
  assert.equal(page.url(), `${site}/welcome`);
  await page.goto(`${API}/account`);
  await page.getByText(email).first().waitFor();
  await leave(page, email);
  assert.equal(at(page), '/sign-in/second-step');
});

test('who signs up where accounts are approved is told to wait', async () => {
  const email = `waits-${Date.now()}@example.org`;
  await sql(`select auth.configure('{"require_approval": true}')`);
  const { page } = await visitor('/sign-up');
  await page.getByLabel('E-mail address').fill(email);
  await page.getByLabel('New password').fill(PASSWORD);
  await send(page, 'Create account');
  assert.equal(at(page), '/sign-up/code');
  await page.getByLabel('Code from the mail').fill((await mail(email, /confirm/i)).code);
  await send(page, 'Continue');
  assert.equal(at(page), '/sign-in');
  await page.getByRole('status').getByText('An administrator has to approve').waitFor();
  await page.goto(`${API}/account`);
  assert.equal(at(page), '/sign-in');
  await sql(`select auth.configure('{"require_approval": false}')`);
});

test('the lists of an account are its own', async () => {
  const [ada, bob] = [await person(), await withPhone()];
  const names = ['Browser of the desk', 'Browser of the pocket', 'Browser of the train'];
  const pages = [];
  for (const userAgent of names) {
    const { page } = await visitor('/sign-in', { userAgent });
    await signIn(page, ada.email);
    pages.push(page);
  }
  const [page] = pages;
  await page.getByText(`email: ${ada.email}`).waitFor();
  await page.goto(`${API}/account/sessions`);
  await page.getByRole('heading', { name: 'Browser of the desk (this one)' }).waitFor();
  const card = page.locator('li', { has: page.getByRole('heading', { name: 'Browser of the pocket' }) });
  const id = await card.locator('input[name=id]').inputValue();
  await Promise.all([page.waitForEvent('domcontentloaded'), card.getByRole('button').click()]);
  await page.getByText('That device is signed out.').waitFor();
  assert.equal(await page.getByRole('heading', { name: 'Browser of the pocket' }).count(), 0);
  const standing = [];
  for (const one of pages) standing.push(await one.goto(`${API}/account`).then(() => at(one)));
  assert.deepEqual(standing, ['/account', '/sign-in', '/account']);
  // Again, and somebody else's: nothing happens.
  const [{ session }] = await sql('select s.id as session from auth.sessions as s join auth.users as u on u.id = s.user_id where u.email = $1', [bob.email]);
  for (const gone of [id, session]) {
    assert.deepEqual(await post(page, '/account/sessions/revoke', { id: gone }), [303, '/account/sessions?done=session_ended']);
  }
  assert.equal((await post(page, '/account/sessions/revoke', { id: 'x' }))[0], 400);
  ok(await bob.own.auth.refreshSession());

  const [{ factor }] = await sql('select f.id as factor from auth.mfa_factors as f join auth.users as u on u.id = f.user_id where u.email = $1', [bob.email]);
  await sql(`insert into auth.passkeys (user_id, credential_id, public_key, friendly_name)
    select id, '\\x01', '\\x02', 'of ' || email from auth.users where email in ($1, $2) and email = $2`, [ada.email, bob.email]);
  const [{ passkey }] = await sql("select id as passkey from auth.passkeys where friendly_name = 'of ' || $1", [bob.email]);
  for (const [path, fields] of [
    ['/account/passkeys/rename', { id: passkey, name: 'mine' }], ['/account/passkeys/remove', { id: passkey }],
    ['/account/factors/remove', { id: factor }],
  ]) {
    const [status] = await post(page, path, fields);
    assert.ok([404, 303].includes(status), `${path}: ${status}`);
    const shown = await page.goto(`${API}${path.replace('rename', 'remove')}?id=${fields.id}`);
    assert.ok(!(await shown.text()).includes(bob.email), path);
  }
  const [left] = await sql(`select (select friendly_name from auth.passkeys where id = $1) as passkey,
    (select status::text from auth.mfa_factors where id = $2) as factor`, [passkey, factor]);
  assert.deepEqual([left.passkey, left.factor], [`of ${bob.email}`, 'verified']);
});
