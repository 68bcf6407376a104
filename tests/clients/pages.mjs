// The hosted pages in Chromium: the whole way of a person, with scripts and without.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import test, { after, before } from 'node:test';

import { API, PASSWORD, address, mail, person, sql } from './stage.mjs';
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

const codes = (page) => page.locator('.codes code').allTextContents();

// Steps that were used are let pass.
async function forgetSteps(email) {
  await sql('update auth.mfa_factors set last_used_step = null where user_id = (select id from auth.users where email = $1)', [email]);
}

async function signUp(page, email) {
  await page.getByRole('link', { name: 'Create an account' }).click();
  await page.getByLabel('E-mail address').fill(email);
  await page.getByLabel('New password').fill(PASSWORD);
  await send(page, 'Create account');
  assert.equal(at(page), '/sign-up/code');
  assert.equal(await page.getByLabel('E-mail address').inputValue(), email);
}

async function confirm(page, email) {
  const { code } = await mail(email, /confirm/i);
  await page.getByLabel('Code from the mail').fill(code);
  await send(page, 'Continue');
}

// An authenticator app by the key that a person types; gives the key and the recovery codes.
async function enrol(page, email, name = 'My phone') {
  await page.goto(`${API}/account/factors/new`);
  await page.getByLabel('Name').fill(name);
  await send(page, 'Continue');
  assert.match(await page.locator('img.qr').getAttribute('src'), /^data:image\/svg\+xml/);
  const key = await page.locator('#key').textContent();
  await page.getByLabel('Code of six digits').fill(wrong(key));
  await send(page, 'Confirm');
  assert.match(await problem(page), /wrong/);
  assert.equal(await page.locator('#key').count(), 0);
  assert.ok(!(await page.content()).includes(key.replaceAll(' ', '')));
  await page.getByLabel('Code of six digits').fill(totp(key));
  await send(page, 'Confirm');
  const shown = await codes(page);
  assert.equal(shown.length, 10);
  await forgetSteps(email);
  return { key, shown };
}

for (const javaScriptEnabled of [true, false]) {
  test(`the whole way, ${javaScriptEnabled ? 'with' : 'without'} scripts`, async () => {
    const email = address('ada');
    const { page } = await visitor('/sign-in', { javaScriptEnabled });
    await signUp(page, email);
    await page.getByLabel('Code from the mail').fill('000000');
    await send(page, 'Continue');
    assert.match(await problem(page), /wrong or no longer/);
    await confirm(page, email);
    assert.equal(at(page), '/account');
    await page.getByText(email).first().waitFor();
    await holdsNoToken(page);

    const { key, shown } = await enrol(page, email);
    await send(page, 'I have kept them');
    assert.equal(at(page), '/account/factors');
    await page.getByText('Your second factor is set up.').waitFor();
    await page.getByRole('heading', { name: 'My phone' }).waitFor();

    await send(page, 'Sign out');
    assert.equal(at(page), '/sign-in');
    await signIn(page, email);
    assert.equal(at(page), '/sign-in/second-step');
    await page.getByText('My phone').waitFor();
    await holdsNoToken(page);
    // Nothing of the account before the second step.
    for (const path of ['/account', '/account/sessions', '/account/factors', '/account/password']) {
      await page.goto(`${API}${path}`);
      assert.equal(at(page), '/sign-in/second-step', path);
      assert.ok(!(await page.content()).includes(email), path);
    }
    await page.getByLabel('Code of six digits').fill(wrong(key));
    await send(page, 'Continue');
    assert.match(await problem(page), /wrong or was used/);
    await page.getByLabel('Code of six digits').fill(totp(key));
    await send(page, 'Continue');
    assert.equal(at(page), '/account');
    await page.goto(`${API}/account`);
    await page.getByText(email).first().waitFor();

    // A recovery code, typed as it is shown; it works once.
    await send(page, 'Sign out');
    for (const works of [true, false]) {
      await signIn(page, email);
      await page.getByRole('link', { name: 'Use a recovery code' }).click();
      await page.getByLabel('Recovery code').fill(shown[0]);
      await send(page, 'Continue');
      assert.equal(at(page), works ? '/account' : '/sign-in/second-step');
      if (works) await send(page, 'Sign out');
    }
    assert.match(await problem(page), /wrong or was used/);
    await page.getByLabel('Recovery code').fill(shown[1]);
    await send(page, 'Continue');

    await page.getByRole('link', { name: 'Second step' }).click();
    await page.getByText('Codes that are left: 8').waitFor();
    await send(page, 'Make new recovery codes');
    const renewed = await codes(page);
    assert.equal(renewed.length, 10);
    assert.ok(!renewed.includes(shown[2]));
    await send(page, 'I have kept them');
    await page.getByRole('link', { name: 'Remove My phone' }).click();
    await page.getByRole('heading', { name: 'Remove this factor?' }).waitFor();
    await send(page, 'Remove');
    await page.getByText('The factor is removed.').waitFor();

    // Signed out everywhere: also where somebody else is signed in.
    const other = await visitor('/sign-in', { javaScriptEnabled });
    await signIn(other.page, email);
    assert.equal(at(other.page), '/account');
    await page.getByRole('link', { name: 'Account', exact: true }).click();
    await send(page, 'Sign out everywhere');
    assert.equal(at(page), '/sign-in');
    await other.page.goto(`${API}/account`);
    assert.equal(at(other.page), '/sign-in');
    await page.goto(`${API}/account`);
    assert.equal(at(page), '/sign-in');
  });
}

test('an unknown address and a wrong password are one sentence', async () => {
  const { email } = await person();
  const { page } = await visitor();
  const said = [];
  for (const who of [email, address('nobody')]) {
    await signIn(page, who, 'not the password');
    said.push(await problem(page));
    assert.equal(await page.getByLabel('E-mail address').inputValue(), who);
    assert.equal(await page.getByLabel('Password', { exact: true }).inputValue(), '');
    assert.ok(!(await page.content()).includes('not the password'));
  }
  assert.equal(said[0], 'The address or the password is wrong.');
  assert.equal(said[0], said[1]);
});

test('a forgotten password is set anew by the mailed code', async () => {
  const { email } = await person();
  const { page } = await visitor();
  await page.getByRole('link', { name: 'Forgotten your password?' }).click();
  await page.getByLabel('E-mail address').fill(email);
  await send(page, 'Send the mail');
  assert.equal(at(page), '/forgotten-password/new');
  const { code } = await mail(email, /password/i);
  await page.getByLabel('Code from the mail').fill(code);
  await page.getByLabel('New password').fill('short');
  await send(page, 'Set password');
  assert.match(await problem(page), /longer/);
  await page.getByLabel('Code from the mail').fill(code);
  await page.getByLabel('New password').fill('a wholly new password');
  await send(page, 'Set password');
  await page.goto(`${API}/sign-in`);
  await signIn(page, email);
  assert.match(await problem(page), /wrong/);
  await signIn(page, email, 'a wholly new password');
  assert.equal(at(page), '/account');
});

test('a mailed code signs in, and tells no stranger who is here', async () => {
  const { email } = await person();
  const { page } = await visitor();
  for (const who of [address('nobody'), email]) {
    await page.goto(`${API}/sign-in/mail`);
    await page.getByLabel('E-mail address').fill(who);
    await send(page, 'Send the mail');
    assert.equal(at(page), '/sign-in/code');
    await page.getByText('If there is an account with this address').waitFor();
  }
  const { code } = await mail(email, /sign/i);
  await page.getByLabel('Code from the mail').fill(code);
  await send(page, 'Continue');
  assert.equal(at(page), '/account');
});

test('a password is changed, and other devices are signed out one by one or all', async () => {
  const { email } = await person();
  const { page } = await visitor();
  const others = [];
  await signIn(page, email);
  for (let count = 0; count < 3; count++) {
    const other = await visitor();
    await signIn(other.page, email);
    others.push(other.page);
  }
  const still = async () => {
    const places = [];
    for (const other of others) places.push(await other.goto(`${API}/account`).then(() => at(other)));
    return places.filter((place) => place === '/account').length;
  };
  await page.getByRole('link', { name: 'Devices' }).click();
  await Promise.all([page.waitForEvent('domcontentloaded'), page.getByRole('button', { name: 'Sign this one out' }).first().click()]);
  await page.getByText('That device is signed out.').waitFor();
  await send(page, 'Sign out all others');
  await page.getByText('All other devices are signed out.').waitFor();
  assert.equal(await still(), 0);
  await signIn(others[0], email);
  assert.equal(await still(), 1);

  await page.getByRole('link', { name: 'Password' }).click();
  await page.getByLabel('Current password').fill('not the password');
  await page.getByLabel('New password').fill('a wholly new password');
  await send(page, 'Change password');
  assert.equal(await problem(page), 'The current password is wrong.');
  await page.getByLabel('Current password').fill(PASSWORD);
  await page.getByLabel('New password').fill('a wholly new password');
  await send(page, 'Change password');
  await page.getByText('Your password is changed.').waitFor();
  assert.equal(await still(), 0);
});

test('an old session that adds an app says the password at either step', async () => {
  const { email } = await person();
  const { page } = await visitor();
  await signIn(page, email);
  await sql(`select auth.configure('{"current_password_required": true}')`);
  await sql("update auth.sessions set created_at = created_at - interval '1 hour'");
  await page.goto(`${API}/account/factors/new`);
  await page.getByLabel('Name').fill('My phone');
  await send(page, 'Continue');
  assert.equal(await problem(page), 'Enter your current password.');
  await page.getByLabel('Name').fill('My phone');
  await page.getByLabel('Current password').fill(PASSWORD);
  await send(page, 'Continue');
  const key = await page.locator('#key').textContent();
  for (const [password, said] of [['', 'Enter your current password.'], ['not the password', 'The current password is wrong.']]) {
    await page.getByLabel('Code of six digits').fill(totp(key));
    await page.getByLabel('Current password').fill(password);
    await send(page, 'Confirm');
    assert.equal(await problem(page), said);
  }
  await accessible(page, 'an app with the password');
  await page.getByLabel('Current password').fill(PASSWORD);
  await page.getByLabel('Code of six digits').fill(totp(key));
  await send(page, 'Confirm');
  assert.equal((await codes(page)).length, 10);
  await sql(`select auth.configure('{"current_password_required": false}')`);
});

test('tokens that have ended are renewed, and the session goes on', async () => {
  const { email } = await person();
  const { context, page } = await visitor();
  await signIn(page, email);
  const kept = async () => (await context.cookies()).find(({ name }) => name === 'auth-pages-refresh').value;
  const first = await kept();
  await context.clearCookies({ name: 'auth-pages-access' });
  await page.goto(`${API}/account/sessions`);
  assert.equal(at(page), '/account/sessions');
  assert.notEqual(await kept(), first);
  await page.goto(`${API}/account`);
  assert.equal(at(page), '/account');
});

test('after signing in one is where one was going, if that is allowed', async () => {
  const { email } = await person();
  const site = process.env.AUTH_SITE;
  for (const [target, expected] of [
    [`${site}/welcome?a=1`, `${site}/welcome?a=1`], ['https://evil.example/', null], ['//evil.example', null],
    ['javascript:alert(1)', null], [`${site}@evil.example/`, null],
  ]) {
    const { context, page } = await visitor(`/sign-in?redirect_to=${encodeURIComponent(target)}`);
    await signIn(page, email);
    if (expected) assert.equal(page.url(), expected);
    else assert.equal(at(page), '/account', target);
    await context.close();
  }
});

test('the sign-in page is walked by keyboard alone', async () => {
  const { email } = await person();
  const { page } = await visitor();
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent.trim());
  const walked = [];
  for (let count = 0; count < 8; count++) {
    await page.keyboard.press('Tab');
    walked.push(await focused());
    if (walked.at(-1) === 'Create an account') break;
  }
  assert.deepEqual(walked, ['Skip to the content', 'email', 'password', 'Sign in', 'Sign in with a mailed code',
    'Forgotten your password?', 'Create an account']);
  await page.focus('#email');
  await page.keyboard.type(email);
  await page.keyboard.press('Tab');
  await page.keyboard.type('not the password');
  await Promise.all([page.waitForEvent('domcontentloaded'), page.keyboard.press('Enter')]);
  // The summary has the focus, and its link leads to the field.
  assert.equal(await focused(), 'summary');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await focused(), 'password');
  await page.keyboard.type(PASSWORD);
  await Promise.all([page.waitForEvent('domcontentloaded'), page.keyboard.press('Enter')]);
  assert.equal(at(page), '/account');
});

test('names are data', async () => {
  const hostile = '<img src=x onerror=alert(1)>"\'{{ 7*7 }}';
  const { email } = await person();
  const { page } = await visitor('/sign-in', { userAgent: hostile });
  let alerted = false;
  page.on('dialog', async (dialog) => { alerted = true; await dialog.dismiss(); });
  await signIn(page, email);
  await enrol(page, email, hostile);
  for (const path of ['/account/factors', '/account/sessions']) {
    await page.goto(`${API}${path}`);
    await page.getByRole('heading', { name: hostile }).first().waitFor();
    assert.equal(await page.locator('img').count(), 0, path);
  }
  const id = await page.goto(`${API}/account/factors`).then(() => page.getByRole('link', { name: /Remove/ }).getAttribute('href'));
  await page.goto(new URL(id, API).href);
  await page.getByText(hostile).first().waitFor();
  await page.goto(`${API}/account`);
  await send(page, 'Sign out');
  await signIn(page, `<img src=x onerror=alert(1)>@example.org`);
  await page.getByRole('alert').waitFor();
  await signIn(page, email);
  await page.locator('strong', { hasText: hostile }).waitFor();
  assert.equal(await page.locator('img').count(), 0);
  assert.equal(alerted, false);
});

test('where the second step is left to policies, it is asked for all the same', async () => {
  const { email } = await person();
  const { page } = await visitor();
  await signIn(page, email);
  const { key } = await enrol(page, email);
  await send(page, 'I have kept them');
  await send(page, 'Sign out');
  await sql(`select auth.configure('{"mfa_enforcement": "policy"}')`);
  await signIn(page, email);
  assert.equal(at(page), '/sign-in/second-step');
  // What needs the second step leads there, too.
  await page.goto(`${API}/account/factors`);
  assert.equal(at(page), '/account/factors');
  await page.getByRole('link', { name: 'Remove My phone' }).click();
  await send(page, 'Remove');
  assert.equal(at(page), '/sign-in/second-step');
  await page.getByLabel('Code of six digits').fill(totp(key));
  await send(page, 'Continue');
  assert.equal(at(page), '/account');
  await sql(`select auth.configure('{"mfa_enforcement": "required"}')`);
});

const OUTSIDE = ['/sign-in', '/sign-up', '/sign-up/code', '/sign-in/mail', '/sign-in/code', '/forgotten-password', '/forgotten-password/new'];
const INSIDE = ['/account', '/account/password', '/account/factors', '/account/factors/new', '/account/sessions'];

for (const [locale, lang, colorScheme] of [['en-GB', 'en', 'light'], ['de-AT', 'de', 'dark']]) {
  test(`every page is accessible (${lang})`, async () => {
    const { email } = await person();
    const { page } = await visitor('/sign-in', { locale, colorScheme });
    const look = async (what) => {
      assert.equal(await page.locator('html').getAttribute('lang'), lang);
      await accessible(page, `${lang} ${what}`);
    };
    const press = () => Promise.all([page.waitForEvent('domcontentloaded'), page.locator('main form button').first().click()]);
    for (const path of OUTSIDE) {
      await page.goto(`${API}${path}`);
      await look(path);
      await press();
      await page.getByRole('alert').waitFor();
      await look(`${path} with an error`);
    }
    await page.goto(`${API}/sign-in`);
    await page.locator('#email').fill(email);
    await page.locator('#password').fill(PASSWORD);
    await press();
    for (const path of INSIDE) {
      await page.goto(`${API}${path}`);
      await look(path);
    }
    await page.goto(`${API}/account/factors/new`);
    await press();
    await look('a key');
    const key = await page.locator('#key').textContent();
    await page.locator('#code').fill(totp(key));
    await press();
    await look('recovery codes');
    await page.goto(`${API}/account/factors`);
    await look('a factor');
    await page.goto(new URL(await page.locator('.cards a').getAttribute('href'), API).href);
    await look('removing');
    await page.goto(`${API}/account`);
    await press();
    await look('signed out');
    await page.locator('#email').fill(email);
    await page.locator('#password').fill(PASSWORD);
    await press();
    await look('second step');
    await page.goto(`${API}/sign-in/second-step?by=recovery-code`);
    await look('recovery code');
    await press();
    await look('recovery code with an error');
    await page.goto(`${API}/sign-in?a=1&a=2`);
    await look('a refusal');
  });
}
