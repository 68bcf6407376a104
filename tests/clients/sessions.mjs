// Sessions of several devices, by supabase-js.
import assert from 'node:assert/strict';
import test from 'node:test';

import { PASSWORD, claims, client, ok, person, refused } from './stage.mjs';

async function devices() {
  const { own, email } = await person();
  const signedIn = async () => {
    const device = client();
    ok(await device.auth.signInWithPassword({ email, password: PASSWORD }));
    return device;
  };
  return [own, await signedIn(), await signedIn()];
}

// Which of them the server still knows.
const known = (all) => Promise.all(all.map(async (device) => {
  const { data } = await device.auth.getSession();
  if (!data.session) return false;
  const { error } = await client().auth.getUser(data.session.access_token);
  return error === null;
}));

test('signing out here, elsewhere, everywhere', async () => {
  const all = await devices();
  ok(await all[0].auth.signOut({ scope: 'others' }));
  assert.deepEqual(await known(all), [true, false, false]);

  const again = await devices();
  ok(await again[1].auth.signOut({ scope: 'local' }));
  assert.deepEqual(await known(again), [true, false, true]);
  ok(await again[0].auth.signOut({ scope: 'global' }));
  assert.deepEqual(await known(again), [false, false, false]);
  const { data, error } = await again[2].auth.refreshSession();
  assert.deepEqual([data.session, error.status], [null, 400]);
});

test('the events of a session', async () => {
  const { own, email } = await person();
  await own.auth.signOut();
  const events = [];
  const { data } = own.auth.onAuthStateChange((event, session) => events.push([event, session?.user?.email]));
  ok(await own.auth.signInWithPassword({ email, password: PASSWORD }));
  ok(await own.auth.refreshSession());
  ok(await own.auth.updateUser({ data: { theme: 'dark' } }));
  ok(await own.auth.signOut());
  data.subscription.unsubscribe();
  const happened = events.filter(([event]) => event !== 'INITIAL_SESSION');
  assert.deepEqual(happened, [
    ['SIGNED_IN', email], ['TOKEN_REFRESHED', email], ['USER_UPDATED', email], ['SIGNED_OUT', undefined],
  ]);
});

test('a client with an old access token refreshes by itself', async () => {
  const { session } = await person();
  const kept = new Map();
  const storage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
  // As a program finds it that was away for a day.
  kept.set('kept', JSON.stringify({ ...session, expires_at: Math.floor(Date.now() / 1000) - 86400, expires_in: 0 }));
  const own = client({ storage, storageKey: 'kept' });
  const fresh = ok(await own.auth.getSession()).session;
  assert.notEqual(fresh.refresh_token, session.refresh_token);
  assert.equal(claims(fresh).session_id, claims(session).session_id);
  assert.equal(JSON.parse(kept.get('kept')).refresh_token, fresh.refresh_token);
});

test('twenty refreshes at once all give a usable session', async () => {
  const { session } = await person();
  const { refresh_token } = session;
  const answers = await Promise.all(Array.from({ length: 20 }, () => client().auth.refreshSession({ refresh_token })));
  const sessions = answers.map((answer) => ok(answer).session);
  for (const { access_token } of sessions) ok(await client().auth.getUser(access_token));
  const successors = new Set(sessions.map((each) => each.refresh_token));
  assert.equal(successors.size, 1);
  ok(await client().auth.refreshSession({ refresh_token: [...successors][0] }));
});

test('an old refresh token ends its session', async () => {
  const { session } = await person();
  const first = ok(await client().auth.refreshSession(session)).session;
  const second = ok(await client().auth.refreshSession(first)).session;
  refused(await client().auth.refreshSession(session), 400, 'refresh_token_already_used');
  assert.ok((await client().auth.getUser(second.access_token)).error);
});
