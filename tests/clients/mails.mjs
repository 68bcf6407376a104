// What goes by mail, by supabase-js.
import assert from 'node:assert/strict';
import test from 'node:test';

import { CALLBACK, PASSWORD, SITE, address, claims, client, follow, landing, mail, ok, open, person, press, refused, sql } from './stage.mjs';

test('a link with PKCE signs in the program that asked, once', async () => {
  const { email } = await person();
  const own = client({ flowType: 'pkce' });
  ok(await own.auth.signInWithOtp({ email, options: { emailRedirectTo: CALLBACK } }));
  const { link } = await mail(email, /sign/i);
  const { place, code, hash } = await follow(link);
  assert.equal(place, CALLBACK);
  assert.ok(code);
  assert.deepEqual(hash, {});
  const stranger = client({ flowType: 'pkce' });
  assert.ok((await stranger.auth.exchangeCodeForSession(code)).error);
  const { session } = ok(await own.auth.exchangeCodeForSession(code));
  assert.equal(session.user.email, email);
  assert.ok(['magiclink', 'otp'].includes(claims(session).amr[0].method), JSON.stringify(claims(session).amr));
});

test('a PKCE code is exchanged once, by the verifier that belongs to it', async () => {
  const kept = new Map();
  const storage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
  const email = address();
  const own = client({ flowType: 'pkce', storage });
  ok(await own.auth.signUp({ email, password: PASSWORD, options: { emailRedirectTo: CALLBACK } }));
  const { code } = await follow((await mail(email, /confirm/i)).link);
  const verifiers = [...kept];
  const restore = () => verifiers.forEach(([key, value]) => kept.set(key, value));
  ok(await own.auth.exchangeCodeForSession(code));
  restore();
  refused(await own.auth.exchangeCodeForSession(code), 404, 'flow_state_not_found');
  restore();
  refused(await own.auth.exchangeCodeForSession('nonsense'), 404, 'flow_state_not_found');
});

test('another verifier is refused', async () => {
  const { email } = await person();
  const [own, other] = [client({ flowType: 'pkce' }), client({ flowType: 'pkce' })];
  ok(await other.auth.signInWithOtp({ email: address(), options: { emailRedirectTo: CALLBACK } }));
  ok(await own.auth.signInWithOtp({ email, options: { emailRedirectTo: CALLBACK } }));
  const { code } = await follow((await mail(email, /sign/i)).link);
  refused(await other.auth.exchangeCodeForSession(code), 400, 'bad_code_verifier');
});

test('a code signs in; an unknown address gets an account, unless it shall not', async () => {
  const email = address('new');
  const own = client();
  ok(await own.auth.signInWithOtp({ email, options: { data: { name: 'New' } } }));
  const { code } = await mail(email, /./);
  const { user, session } = ok(await own.auth.verifyOtp({ email, token: code, type: 'email' }));
  assert.equal(user.user_metadata.name, 'New');
  assert.equal(claims(session).amr[0].method, 'otp');
  const unknown = address('unknown');
  ok(await own.auth.signInWithOtp({ email: unknown, options: { shouldCreateUser: false } }));
  refused(await own.auth.verifyOtp({ email: unknown, token: '123456', type: 'email' }), 403, 'otp_expired');
});

test('a forgotten password is set anew', async () => {
  const { email, session } = await person();
  const own = client();
  ok(await own.auth.resetPasswordForEmail(email, { redirectTo: CALLBACK }));
  const { code, query } = await mail(email, /reset/i);
  assert.equal(query.get('redirect_to'), CALLBACK);
  refused(await own.auth.verifyOtp({ email, token: code === '000000' ? '000001' : '000000', type: 'recovery' }), 403, 'otp_expired');
  const events = [];
  own.auth.onAuthStateChange((event) => events.push(event));
  ok(await own.auth.verifyOtp({ email, token: code, type: 'recovery' }));
  assert.ok(events.includes('PASSWORD_RECOVERY'), events.join());
  ok(await own.auth.updateUser({ password: 'another horse battery' }));
  ok(await client().auth.signInWithPassword({ email, password: 'another horse battery' }));
  refused(await client().auth.signInWithPassword({ email, password: PASSWORD }), 400, 'invalid_credentials');
  assert.ok((await client().auth.getUser(session.access_token)).error, 'the sessions from before have ended');
});

test('the link of a reset, with PKCE', async () => {
  const { email } = await person();
  const own = client({ flowType: 'pkce' });
  ok(await own.auth.resetPasswordForEmail(email, { redirectTo: CALLBACK }));
  const { code } = await follow((await mail(email, /reset/i)).link);
  ok(await own.auth.exchangeCodeForSession(code));
  ok(await own.auth.updateUser({ password: 'another horse battery' }));
  ok(await client().auth.signInWithPassword({ email, password: 'another horse battery' }));
});

test('an address changes after both mails', async () => {
  const { own, email, user } = await person();
  const wanted = address('moved');
  const asked = ok(await own.auth.updateUser({ email: wanted }, { emailRedirectTo: CALLBACK })).user;
  assert.deepEqual([asked.email, asked.new_email], [email, wanted]);
  const [before, after] = [await mail(email, /./), await mail(wanted, /./)];
  const half = await follow(before.link);
  assert.equal(half.place, CALLBACK);
  assert.match(half.hash.message, /other email/);
  assert.equal(ok(await own.auth.getUser()).user.email, email);
  const { hash } = await follow(after.link);
  assert.equal(ok(await client().auth.setSession(hash)).user.email, wanted);
  assert.equal(ok(await client().auth.signInWithPassword({ email: wanted, password: PASSWORD })).user.id, user.id);
  refused(await client().auth.signInWithPassword({ email, password: PASSWORD }), 400, 'invalid_credentials');
});

test('an address changes after both codes, and the mails come again', async () => {
  const { own, email } = await person();
  const wanted = address('moved');
  ok(await own.auth.updateUser({ email: wanted }));
  const first = [await mail(email, /./), await mail(wanted, /./)];
  ok(await own.auth.resend({ type: 'email_change', email }));
  const [before, after] = [await mail(email, /./), await mail(wanted, /./)];
  for (const { token } of first) refused(await client().auth.verifyOtp({ token_hash: token, type: 'email_change' }), 403, 'otp_expired');
  const half = ok(await own.auth.verifyOtp({ email: wanted, token: after.code, type: 'email_change' }));
  assert.equal(half.session, null);
  const { user } = ok(await own.auth.verifyOtp({ email, token: before.code, type: 'email_change' }));
  assert.equal(user.email, wanted);
});

test('a nonce is mailed to whoever asks, and an old session needs it for a new password', async () => {
  const { own, email, user } = await person();
  const change = (more) => own.auth.updateUser({ password: 'another horse battery', ...more });
  await sql(`select auth.configure('{"reauthentication_required": true}')`);
  await sql(`update auth.sessions set created_at = created_at - interval '25 hours' where user_id = $1`, [user.id]);
  try {
    refused(await change(), 400, 'reauthentication_needed');
    ok(await own.auth.reauthenticate());
    const { code, link } = await mail(email, /./);
    assert.equal(link, undefined);
    refused(await change({ nonce: code === '000000' ? '000001' : '000000' }), 422, 'reauthentication_not_valid');
    ok(await change({ nonce: code }));
  } finally {
    await sql(`select auth.configure('{"reauthentication_required": false}')`);
  }
  assert.equal((await client().auth.reauthenticate()).error.name, 'AuthSessionMissingError');
});

test('codes and links end', async () => {
  const { email } = await person();
  ok(await client().auth.signInWithOtp({ email, options: { emailRedirectTo: CALLBACK } }));
  const { code, token, link } = await mail(email, /sign/i);
  await sql(`update auth.one_time_tokens set code_expires_at = clock_timestamp() - interval '1 second'`);
  refused(await client().auth.verifyOtp({ email, token: code, type: 'email' }), 403, 'otp_expired');
  assert.equal((await open(link)).status, 200);
  await sql(`update auth.one_time_tokens set expires_at = clock_timestamp() - interval '1 second'`);
  refused(await client().auth.verifyOtp({ token_hash: token, type: 'magiclink' }), 403, 'otp_expired');
  assert.equal(landing((await open(link)).location).hash.error_code, 'otp_expired');
});

test('a link leads where the app has said it may', async () => {
  const { email } = await person();
  const options = { emailRedirectTo: 'https://evil.example/' };
  refused(await client().auth.signInWithOtp({ email, options }), 400, 'redirect_not_allowed');
  refused(await client().auth.signUp({ email: address(), password: PASSWORD, options }), 400, 'redirect_not_allowed');
  refused(await client().auth.resetPasswordForEmail(email, { redirectTo: 'https://evil.example/' }), 400, 'redirect_not_allowed');
  ok(await client().auth.signInWithOtp({ email }));
  assert.ok((await follow((await mail(email, /sign/i)).link)).place.startsWith(SITE));
});

test('a spent or made-up link says so where it leads', async () => {
  const { email } = await person();
  ok(await client().auth.signInWithOtp({ email, options: { emailRedirectTo: CALLBACK } }));
  const { link, token } = await mail(email, /sign/i);
  const { body } = await open(link);
  ok(await client().auth.verifyOtp({ token_hash: token, type: 'magiclink' }));
  const { place, hash } = await press(body, link);
  assert.deepEqual([place, hash.error, hash.error_code], [CALLBACK, 'access_denied', 'otp_expired']);
  const made = landing((await open(link.replace(token, 'A'.repeat(token.length)))).location);
  assert.deepEqual([made.place, made.hash.error_code], [CALLBACK, 'otp_expired']);
  refused(await client().auth.verifyOtp({ token_hash: token, type: 'magiclink' }), 403, 'otp_expired');
});
