// What the scenarios stand on: clients of their own, and the inbox that the mail goes to.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.AUTH_NODE_MODULES}/`);
const { createClient } = require('@supabase/supabase-js');
const pg = require('pg');

export const URL_ = process.env.AUTH_URL;
export const API = `${URL_}/auth/v1`;
export const ANON = process.env.AUTH_ANON_KEY;
export const SERVICE = process.env.AUTH_SERVICE_KEY;
export const SITE = 'http://app.example.org:3000';
export const CALLBACK = `${SITE}/callback`;
export const PASSWORD = 'correct horse battery';

let clients = 0;

// As a program of its own would make it: nothing is shared with the others.
export function client(options = {}, key = ANON, global = {}) {
  const auth = { storageKey: `client-${clients++}`, autoRefreshToken: false, detectSessionInUrl: false, ...options };
  return createClient(URL_, key, { auth, global });
}

// What only the database can do: letting time pass, and settings.
export async function sql(text, values = []) {
  const db = new pg.Client({ connectionString: process.env.AUTH_SUPERUSER_URL });
  await db.connect();
  try {
    return (await db.query(text, values)).rows;
  } finally {
    await db.end();
  }
}

export const service = () => client({ persistSession: false }, SERVICE);

let people = 0;
export const address = (name = 'person') => `${name}-${people++}@example.org`;

// The answer's data; an error is a failure.
export function ok({ data, error }) {
  assert.equal(error, null, error && `${error.status} ${error.code}: ${error.message}`);
  return data;
}

export function refused({ error }, status, code) {
  assert.ok(error, `nothing was refused where ${code} is expected`);
  assert.deepEqual([error.status, error.code], [status, code], error.message);
  return error;
}

export const claims = (session) => JSON.parse(Buffer.from(session.access_token.split('.')[1], 'base64url'));

const seen = new Set();

async function until(what, look) {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`there is no ${what}`);
    await new Promise((resume) => setTimeout(resume, 50));
  }
}

// The mail to this address whose subject says this, once it is there; the same mail is never given twice.
export async function mail(email, subject) {
  const found = await until(`mail to ${email} that says ${subject}`, async () => {
    const messages = await (await fetch(`${process.env.AUTH_INBOX}/api/messages`)).json();
    return messages.find((m) => m.recipients.includes(email) && subject.test(m.subject) && !seen.has(m.id));
  });
  seen.add(found.id);
  const link = found.text.match(/https?:\S+\/verify\?\S+/)?.[0];
  const code = found.text.match(/^\s*(\d{6})\s*$/m)?.[1];
  const query = link && new URL(link).searchParams;
  return { link, code, token: query?.get('token'), type: query?.get('type'), query, text: found.text };
}

// The newest SMS to this number, once there is one that was not given yet.
export async function sms(phone) {
  const found = await until(`SMS to ${phone}`, async () => {
    const messages = await (await fetch(`${process.env.AUTH_INBOX}/api/messages`)).json();
    return messages.find((m) => m.subject === 'SMS' && m.recipients.includes(phone) && !seen.has(m.id));
  });
  seen.add(found.id);
  return { code: found.text.match(/^\d{6}/)?.[0], text: found.text };
}

// What a person does with a link: opens the page and presses its button. Gives where the browser is sent.
export async function follow(link) {
  const page = await open(link);
  assert.equal(page.status, 200, page.body);
  return press(page.body, link);
}

export async function open(link, method = 'GET') {
  const answer = await fetch(link, { method, redirect: 'manual' });
  return { status: answer.status, body: await answer.text(), location: answer.headers.get('location') };
}

export async function press(page, link) {
  const form = page.match(/<form[^>]*>[^]*<\/form>/)[0];
  assert.match(form, /method="?post"?/i);
  const text = (html) => html.replaceAll('&amp;', '&').replaceAll('&#x2F;', '/').replaceAll('&quot;', '"');
  const fields = [...form.matchAll(/<input[^>]*name="([^"]*)"[^>]*value="([^"]*)"/g)];
  const body = new URLSearchParams(fields.map(([, name, value]) => [name, text(value)]));
  const action = text(form.match(/action="([^"]*)"/)?.[1] ?? link);
  const answer = await fetch(new URL(action, link), { method: 'POST', body, redirect: 'manual' });
  assert.equal(answer.status, 303, await answer.text());
  return landing(answer.headers.get('location'));
}

export function landing(location) {
  const url = new URL(location);
  const hash = Object.fromEntries(new URLSearchParams(url.hash.slice(1)));
  return { place: url.origin + url.pathname, code: url.searchParams.get('code'), hash };
}

// A confirmed account, signed in.
export async function person(options = {}, name = 'person') {
  const email = address(name);
  const own = client(options);
  ok(await service().auth.admin.createUser({ email, password: PASSWORD, email_confirm: true }));
  const { session, user } = ok(await own.auth.signInWithPassword({ email, password: PASSWORD }));
  return { own, email, session, user };
}
