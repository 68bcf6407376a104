// An account from its sign-up to its end, by supabase-js.
import assert from 'node:assert/strict';
import test from 'node:test';

import { API, CALLBACK, PASSWORD, address, claims, client, follow, landing, mail, ok, open, person, refused, service } from './stage.mjs';

test('sign up with data, confirm by the page of the link', async () => {
  const email = address('ada');
  const own = client();
  const options = { data: { name: 'Ada', age: 36 }, emailRedirectTo: CALLBACK };
  const made = ok(await own.auth.signUp({ email, password: PASSWORD, options }));
  assert.equal(made.session, null);
  assert.equal(made.user.email, email);
  assert.equal(made.user.user_metadata.name, 'Ada');
  refused(await own.auth.signInWithPassword({ email, password: PASSWORD }), 400, 'email_not_confirmed');

  const { link, query } = await mail(email, /confirm/i);
  assert.equal(query.get('redirect_to'), CALLBACK);
  for (const method of ['GET', 'HEAD', 'GET']) assert.equal((await open(link, method)).status, 200);
  refused(await own.auth.signInWithPassword({ email, password: PASSWORD }), 400, 'email_not_confirmed');

  const { place, hash } = await follow(link);
  assert.equal(place, CALLBACK);
  assert.deepEqual([hash.token_type, hash.type], ['bearer', 'signup']);
  const { session } = ok(await client().auth.setSession(hash));
  assert.equal(session.user.email, email);
  assert.ok(session.user.email_confirmed_at);

  const again = landing((await open(link)).location);
  assert.deepEqual([again.place, again.hash.error_code], [CALLBACK, 'otp_expired']);
  const user = ok(await own.auth.signInWithPassword({ email, password: PASSWORD })).user;
  assert.deepEqual([user.user_metadata.name, user.user_metadata.age], ['Ada', 36]);
});

test('sign up, confirm by the code; a code is good once and for its address alone', async () => {
  const email = address();
  const own = client();
  ok(await own.auth.signUp({ email, password: PASSWORD }));
  const { code } = await mail(email, /confirm/i);
  refused(await own.auth.verifyOtp({ email: address(), token: code, type: 'signup' }), 403, 'otp_expired');
  refused(await own.auth.verifyOtp({ email, token: code, type: 'recovery' }), 403, 'otp_expired');
  const { session, user } = ok(await own.auth.verifyOtp({ email, token: code, type: 'signup' }));
  assert.equal(user.email, email);
  assert.equal(ok(await own.auth.getSession()).session.access_token, session.access_token);
  refused(await client().auth.verifyOtp({ email, token: code, type: 'signup' }), 403, 'otp_expired');
});

test('a confirmation is mailed again', async () => {
  const email = address();
  const own = client();
  ok(await own.auth.signUp({ email, password: PASSWORD }));
  const first = await mail(email, /confirm/i);
  ok(await own.auth.resend({ type: 'signup', email, options: { emailRedirectTo: CALLBACK } }));
  const second = await mail(email, /confirm/i);
  assert.notEqual(first.token, second.token);
  ok(await own.auth.verifyOtp({ token_hash: second.token, type: 'signup' }));
});

test('a taken address says nothing, and its owner is told', async () => {
  const { email, user: owner } = await person();
  const { user, session } = ok(await client().auth.signUp({ email, password: 'another horse battery' }));
  const free = ok(await client().auth.signUp({ email: address(), password: PASSWORD })).user;
  assert.equal(session, null);
  assert.notEqual(user.id, owner.id);
  assert.deepEqual(Object.keys(user).sort(), Object.keys(free).sort());
  await mail(email, /account/i);
  ok(await client().auth.signInWithPassword({ email, password: PASSWORD }));
});

test('sign in, the user, the claims, refreshing', async () => {
  const { own, email, session, user } = await person();
  assert.equal(session.expires_in, 3600);
  assert.equal(ok(await own.auth.getUser()).user.id, user.id);
  const told = claims(session);
  assert.deepEqual([told.sub, told.email, told.role, told.aud], [user.id, email, 'authenticated', 'authenticated']);
  assert.deepEqual([told.aal, told.exp - told.iat, told.exp], ['aal1', 3600, session.expires_at]);
  assert.equal(told.amr[0].method, 'password');
  assert.equal(told.iss, 'https://auth.example.org/auth/v1');
  assert.match(told.session_id, /^[0-9a-f-]{36}$/);
  assert.equal(ok(await own.auth.getClaims()).claims.session_id, told.session_id);

  // A service that has the public keys asks nobody.
  const asked = [];
  const service = client({}, undefined, { fetch: (url, init) => (asked.push(new URL(url).pathname), fetch(url, init)) });
  assert.equal(ok(await service.auth.getClaims(session.access_token)).claims.sub, user.id);
  assert.deepEqual(asked, ['/auth/v1/.well-known/jwks.json']);
  const forged = `${session.access_token.slice(0, -8)}AAAAAAAA`;
  assert.equal((await service.auth.getClaims(forged)).error.name, 'AuthInvalidJwtError');

  const next = ok(await own.auth.refreshSession()).session;
  assert.notEqual(next.refresh_token, session.refresh_token);
  assert.equal(claims(next).session_id, told.session_id);
  assert.equal(ok(await client().auth.getUser(next.access_token)).user.id, user.id);
});

test('an account changes its data and its password', async () => {
  const { own, email, session } = await person();
  const { user } = ok(await own.auth.updateUser({ data: { name: 'Ada', theme: 'dark' } }));
  assert.deepEqual(user.user_metadata, { ...user.user_metadata, name: 'Ada', theme: 'dark' });
  ok(await own.auth.updateUser({ data: { theme: null } }));
  assert.equal(ok(await own.auth.getUser()).user.user_metadata.theme ?? null, null);

  refused(await own.auth.updateUser({ password: PASSWORD }), 422, 'same_password');
  const weak = refused(await own.auth.updateUser({ password: 'short' }), 422, 'weak_password');
  assert.deepEqual([weak.name, weak.reasons], ['AuthWeakPasswordError', ['length']]);
  ok(await own.auth.updateUser({ password: 'another horse battery' }));
  assert.equal(claims(session).session_id, claims(ok(await own.auth.getSession()).session).session_id);
  refused(await client().auth.signInWithPassword({ email, password: PASSWORD }), 400, 'invalid_credentials');
  ok(await client().auth.signInWithPassword({ email, password: 'another horse battery' }));
  await mail(email, /password/i);
});

test('a password that has to be changed', async () => {
  const { email, user } = await person();
  ok(await service().auth.admin.updateUserById(user.id, { must_change_password: true }));
  const own = client();
  const { session } = ok(await own.auth.signInWithPassword({ email, password: PASSWORD }));
  assert.equal(claims(session).role, 'anon');
  assert.equal(ok(await own.auth.updateUser({ password: 'another horse battery' })).user.id, user.id);
  const next = ok(await own.auth.refreshSession()).session;
  assert.deepEqual([claims(next).role, claims(next).sub], ['authenticated', user.id]);
  assert.equal(ok(await own.auth.getUser()).user.email, email);
  ok(await client().auth.signInWithPassword({ email, password: 'another horse battery' }));
});

test('a whole form is saved, its address as it was', async () => {
  const { own, email } = await person();
  const { user } = ok(await own.auth.updateUser({ email, data: { name: 'Ada' } }));
  assert.deepEqual([user.email, user.user_metadata.name, user.new_email], [email, 'Ada', undefined]);
});

test('a guest comes in and becomes somebody', async () => {
  const own = client();
  const { user, session } = ok(await own.auth.signInAnonymously({ options: { data: { cart: 3 } } }));
  assert.equal(user.is_anonymous, true);
  assert.deepEqual([claims(session).is_anonymous, claims(session).role], [true, 'authenticated']);
  const email = address('guest');
  ok(await own.auth.updateUser({ email }));
  const { code } = await mail(email, /./);
  const became = ok(await own.auth.verifyOtp({ email, token: code, type: 'email_change' }));
  assert.deepEqual([became.user.id, became.user.email, became.user.is_anonymous], [user.id, email, false]);
  assert.equal(became.user.user_metadata.cart, 3);
  ok(await own.auth.updateUser({ password: PASSWORD }));
  assert.equal(ok(await client().auth.signInWithPassword({ email, password: PASSWORD })).user.id, user.id);
});

test('a guest gives address and password at once', async () => {
  const own = client();
  const { user } = ok(await own.auth.signInAnonymously());
  const email = address('guest');
  ok(await own.auth.updateUser({ email, password: PASSWORD }));
  const { token } = await mail(email, /./);
  const became = ok(await own.auth.verifyOtp({ token_hash: token, type: 'email_change' }));
  assert.deepEqual([became.user.id, became.user.is_anonymous], [user.id, false]);
  assert.equal(ok(await client().auth.signInWithPassword({ email, password: PASSWORD })).user.id, user.id);
});

test('refusals are shown with their words', async () => {
  const { own, email, session } = await person();
  const nobody = refused(await client().auth.signInWithPassword({ email: address(), password: PASSWORD }), 400, 'invalid_credentials');
  const wrong = refused(await client().auth.signInWithPassword({ email, password: 'wrong wrong' }), 400, 'invalid_credentials');
  assert.deepEqual([wrong.name, wrong.message], [nobody.name, nobody.message]);
  refused(await client().auth.signUp({ email: 'no address', password: PASSWORD }), 400, 'email_address_invalid');
  refused(await client().auth.signUp({ phone: '4912345', password: PASSWORD }), 422, 'phone_provider_disabled');
  refused(await client().auth.refreshSession({ refresh_token: 'nonsense' }), 400, 'refresh_token_not_found');
  refused(await client().auth.getUser('nonsense'), 403, 'bad_jwt');
  refused(await client().auth.getUser(`${session.access_token.slice(0, -8)}AAAAAAAA`), 403, 'bad_jwt');

  ok(await own.auth.signOut());
  const gone = await client().auth.getUser(session.access_token);
  assert.equal(gone.error.name, 'AuthSessionMissingError');
  const raw = await fetch(`${API}/user`, { headers: { authorization: `Bearer ${session.access_token}` } });
  assert.deepEqual([raw.status, raw.headers.get('x-sb-error-code')], [403, 'session_not_found']);
  const spent = await client().auth.refreshSession({ refresh_token: session.refresh_token });
  assert.ok(spent.error && spent.error.status === 400, String(spent.error));
});
