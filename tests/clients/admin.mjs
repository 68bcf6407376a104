// Administration, by the `auth.admin` of supabase-js with the service key.
import assert from 'node:assert/strict';
import test from 'node:test';

import { ANON, API, CALLBACK, PASSWORD, SERVICE, address, client, follow, mail, ok, person, refused, service } from './stage.mjs';

const { admin } = service().auth;

test('accounts are made, read, changed and deleted', async () => {
  const email = address('made');
  const attributes = { email, password: PASSWORD, email_confirm: true, user_metadata: { name: 'Made' }, app_metadata: { plan: 'pro' } };
  const { user } = ok(await admin.createUser(attributes));
  assert.deepEqual([user.email, user.user_metadata.name, user.app_metadata.plan], [email, 'Made', 'pro']);
  refused(await admin.createUser(attributes), 422, 'email_exists');
  assert.equal(ok(await admin.getUserById(user.id)).user.email, email);
  ok(await client().auth.signInWithPassword({ email, password: PASSWORD }));

  const moved = address('moved');
  const changes = { email: moved, email_confirm: true, password: 'another horse battery', user_metadata: { name: 'Moved' }, ban_duration: '24h' };
  const changed = ok(await admin.updateUserById(user.id, changes)).user;
  assert.deepEqual([changed.email, changed.user_metadata.name], [moved, 'Moved']);
  assert.ok(changed.banned_until);
  refused(await client().auth.signInWithPassword({ email: moved, password: 'another horse battery' }), 403, 'user_banned');
  ok(await admin.updateUserById(user.id, { ban_duration: 'none' }));
  ok(await client().auth.signInWithPassword({ email: moved, password: 'another horse battery' }));

  ok(await admin.deleteUser(user.id));
  refused(await admin.getUserById(user.id), 404, 'user_not_found');
  refused(await admin.deleteUser(user.id), 404, 'user_not_found');
  refused(await client().auth.signInWithPassword({ email: moved, password: 'another horse battery' }), 400, 'invalid_credentials');
});

test('pages of accounts say what comes next', async () => {
  for (let count = 0; count < 3; count++) ok(await admin.createUser({ email: address('page') }));
  const first = ok(await admin.listUsers({ page: 1, perPage: 2 }));
  assert.deepEqual([first.users.length, first.nextPage], [2, 2]);
  assert.ok(first.total >= 3 && first.lastPage >= 2);
  const second = ok(await admin.listUsers({ page: 2, perPage: 2 }));
  const ids = new Set([...first.users, ...second.users].map(({ id }) => id));
  assert.equal(ids.size, first.users.length + second.users.length);
});

test('links are made without a mail', async () => {
  const email = address('linked');
  for (const type of ['signup', 'magiclink', 'recovery']) {
    const options = { redirectTo: CALLBACK };
    const { properties, user } = ok(await admin.generateLink({ type, email, password: PASSWORD, options }));
    assert.equal(user.email, email);
    assert.deepEqual([properties.verification_type, properties.redirect_to], [type, CALLBACK]);
    assert.match(properties.email_otp, /^\d{6}$/);
    assert.ok(properties.action_link.startsWith(`${API}/verify?`), properties.action_link);
    const { place, hash } = await follow(properties.action_link);
    assert.equal(place, CALLBACK);
    assert.equal(ok(await client().auth.setSession(hash)).user.email, email);
  }
  const { properties } = ok(await admin.generateLink({ type: 'magiclink', email }));
  assert.equal(ok(await client().auth.verifyOtp({ token_hash: properties.hashed_token, type: 'magiclink' })).user.email, email);
  const code = ok(await admin.generateLink({ type: 'recovery', email })).properties.email_otp;
  assert.equal(ok(await client().auth.verifyOtp({ email, token: code, type: 'recovery' })).user.email, email);
});

test('links of a change of address, one for each mailbox', async () => {
  const { own, email } = await person();
  const newEmail = address('moved');
  const options = { redirectTo: CALLBACK };
  for (const type of ['email_change_current', 'email_change_new']) {
    assert.equal(ok(await own.auth.getUser()).user.email, email);
    const { properties } = ok(await admin.generateLink({ type, email, newEmail, options }));
    assert.equal((await follow(properties.action_link)).place, CALLBACK);
  }
  assert.equal(ok(await own.auth.getUser()).user.email, newEmail);
});

test('somebody is invited', async () => {
  const email = address('invited');
  const { user } = ok(await admin.inviteUserByEmail(email, { data: { team: 'red' }, redirectTo: CALLBACK }));
  assert.deepEqual([user.email, user.user_metadata.team], [email, 'red']);
  assert.ok(user.invited_at);
  const { link } = await mail(email, /invit/i);
  const { place, hash } = await follow(link);
  assert.deepEqual([place, hash.type], [CALLBACK, 'invite']);
  const own = client();
  ok(await own.auth.setSession(hash));
  ok(await own.auth.updateUser({ password: PASSWORD }));
  ok(await client().auth.signInWithPassword({ email, password: PASSWORD }));
  refused(await admin.inviteUserByEmail(email), 422, 'email_exists');
});

test('an administrator ends the sessions of somebody', async () => {
  const { session } = await person();
  ok(await admin.signOut(session.access_token));
  assert.ok((await client().auth.getUser(session.access_token)).error);
});

test('nobody else administrates', async () => {
  const [victim, other] = [await person(), await person()];
  const id = victim.user.id;
  const calls = {
    createUser: (api) => api.createUser({ email: address('evil'), password: PASSWORD }),
    listUsers: (api) => api.listUsers(),
    getUserById: (api) => api.getUserById(id),
    updateUserById: (api) => api.updateUserById(id, { password: 'another horse battery' }),
    deleteUser: (api) => api.deleteUser(id),
    generateLink: (api) => api.generateLink({ type: 'magiclink', email: victim.email }),
    inviteUserByEmail: (api) => api.inviteUserByEmail(address('evil')),
  };
  const bearer = (token) => {
    const own = client({ persistSession: false });
    own.auth.headers.Authorization = `Bearer ${token}`;
    own.auth.admin.headers.Authorization = `Bearer ${token}`;
    return own.auth.admin;
  };
  for (const [name, call] of Object.entries(calls)) {
    for (const [who, api] of [
      ['the anon key', client({}, ANON).auth.admin],
      ['the user', bearer(victim.session.access_token)],
      ['another user', bearer(other.session.access_token)],
    ]) {
      const error = (await call(api)).error;
      assert.ok(error, `${name} by ${who}`);
      const expected = who === 'the anon key' ? [[401, 'no_authorization'], [403, 'not_admin']] : [[403, 'not_admin']];
      const got = JSON.stringify([error.status, error.code]);
      assert.ok(expected.some((each) => JSON.stringify(each) === got), `${name} by ${who}: ${got}`);
    }
    const error = (await call(bearer('nonsense'))).error;
    assert.deepEqual([error?.status, error?.code], [403, 'bad_jwt'], name);
  }
  const routes = [['GET', '/admin/users'], ['POST', '/admin/users'], ['GET', `/admin/users/${id}`], ['PUT', `/admin/users/${id}`],
    ['DELETE', `/admin/users/${id}`], ['POST', '/admin/generate_link'], ['POST', '/invite'], ['GET', '/admin/audit']];
  for (const [method, path] of routes) {
    for (const headers of [{}, { apikey: ANON }, { apikey: SERVICE }]) {
      const body = method === 'GET' ? undefined : JSON.stringify({ email: victim.email, type: 'magiclink' });
      const answer = await fetch(`${API}${path}`, { method, headers: { ...headers, 'content-type': 'application/json' }, body });
      assert.deepEqual([answer.status, answer.headers.get('x-sb-error-code')], [401, 'no_authorization'], `${method} ${path}`);
    }
  }
  ok(await client().auth.signInWithPassword({ email: victim.email, password: PASSWORD }));
});
