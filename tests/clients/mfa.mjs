// Second factors, by supabase-js: both as it expects them (mfa_enforcement policy) and asked for at sign-in (required).
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import test from 'node:test';

import { PASSWORD, address, claims, client, ok, person, refused, service, sql } from './stage.mjs';

// RFC 6238 and RFC 4226, written from them: what an authenticator app shows, so many steps from now.
function code(secret, steps = 0) {
  const bits = [...secret].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0'));
  const key = Buffer.from(bits.join('').match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + steps));
  const digest = createHmac('sha1', key).update(counter).digest();
  const number = digest.readUInt32BE(digest[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, '0');
}

const level = async (own) => {
  const { currentLevel, nextLevel } = ok(await own.auth.mfa.getAuthenticatorAssuranceLevel());
  return [currentLevel, nextLevel];
};

async function enrolled() {
  const someone = await person();
  const { mfa } = someone.own.auth;
  const { id, totp } = ok(await mfa.enroll({ factorType: 'totp' }));
  ok(await mfa.challengeAndVerify({ factorId: id, code: code(totp.secret, -1) }));
  return { ...someone, id, secret: totp.secret, mfa };
}

const enforce = (mode) => sql('select auth.configure($1)', [JSON.stringify({ mfa_enforcement: mode })]);

for (const mode of ['policy', 'required']) {
  test(`the second step, ${mode}`, async (t) => {
    await enforce(mode);
    const { own, email } = await person();
    const { mfa } = own.auth;
    assert.deepEqual(await level(own), ['aal1', 'aal1']);
    const events = [];
    own.auth.onAuthStateChange((event) => events.push(event));

    const data = ok(await mfa.enroll({ factorType: 'totp', friendlyName: 'phone', issuer: 'Acme' }));
    assert.deepEqual([data.type, data.friendly_name], ['totp', 'phone']);
    assert.match(data.totp.qr_code, /^data:image\/svg\+xml;utf-8,<.*<svg/s);
    assert.ok(!data.totp.qr_code.includes('#'), 'a data URL ends at #');
    assert.match(data.totp.uri, /^otpauth:\/\/totp\/Acme/);
    const before = ok(await mfa.listFactors());
    assert.deepEqual([before.all.length, before.totp.length], [1, 0]);

    const challenge = ok(await mfa.challenge({ factorId: data.id }));
    assert.deepEqual([challenge.type, challenge.expires_at > Date.now() / 1000], ['totp', true]);
    const wrong = [0, 1, 2, 3, 4].map((n) => `00000${n}`).find((n) => ![-1, 0, 1].some((s) => code(data.totp.secret, s) === n));
    const guess = { factorId: data.id, challengeId: challenge.id, code: wrong };
    refused(await mfa.verify(guess), 422, 'mfa_verification_failed');
    const right = { ...guess, code: code(data.totp.secret, -1) };
    const verified = ok(await mfa.verify(right));
    assert.equal(verified.recovery_codes, undefined, 'the client stores what it is answered');
    refused(await mfa.verify(right), 422, 'mfa_challenge_expired');
    assert.deepEqual(await level(own), ['aal2', 'aal2']);
    assert.ok(events.includes('MFA_CHALLENGE_VERIFIED'));
    const after = ok(await mfa.listFactors());
    assert.deepEqual(after.totp.map((factor) => factor.id), [data.id]);
    ok(await own.auth.refreshSession());
    assert.deepEqual(await level(own), ['aal2', 'aal2']);

    const device = client();
    const { session } = ok(await device.auth.signInWithPassword({ email, password: PASSWORD }));
    const of = claims(session);
    const expected = mode === 'policy' ? ['authenticated', 'access'] : ['anon', 'restricted'];
    assert.deepEqual([of.role, of.token_type, of.aal], [...expected, 'aal1']);
    assert.deepEqual(await level(device), ['aal1', 'aal2']);
    const [status, word] = mode === 'policy' ? [403, 'insufficient_aal'] : [401, 'no_authorization'];
    refused(await device.auth.mfa.unenroll({ factorId: data.id }), status, word);
    refused(await device.auth.mfa.enroll({ factorType: 'totp', friendlyName: 'mine' }), status, word);
    refused(await device.auth.updateUser({ password: 'staple correct horse' }), status, word);
    refused(await device.auth.updateUser({ email: address('thief') }), status, word);
    const [factor] = ok(await device.auth.mfa.listFactors()).totp;
    const raised = ok(await device.auth.mfa.challengeAndVerify({ factorId: factor.id, code: code(data.totp.secret) }));
    assert.deepEqual(claims(raised).amr.map(({ method }) => method), ['password', 'totp']);
    assert.deepEqual(await level(device), ['aal2', 'aal2']);
    const { error } = await client().auth.refreshSession({ refresh_token: session.refresh_token });
    assert.deepEqual([error.status, error.code], [400, 'refresh_token_already_used'], 'from before the second step');
    t.diagnostic(`${mode}: done`);
  });

  test(`a session that waits survives a restart of the program and goes on, ${mode}`, async () => {
    await enforce(mode);
    const { email, id, secret } = await enrolled();
    const kept = new Map();
    const storage = {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => kept.set(key, value),
      removeItem: (key) => kept.delete(key),
    };
    const before = client({ storage, storageKey: 'waiting' });
    ok(await before.auth.signInWithPassword({ email, password: PASSWORD }));
    const after = client({ storage, storageKey: 'waiting' });
    ok(await after.auth.refreshSession());
    assert.deepEqual(await level(after), ['aal1', 'aal2']);
    ok(await after.auth.mfa.challengeAndVerify({ factorId: id, code: code(secret) }));
    assert.deepEqual(await level(after), ['aal2', 'aal2']);
    ok(await after.auth.updateUser({ data: { theme: 'dark' } }));
    ok(await after.auth.signOut());
  });

  test(`removing a factor, ${mode}`, async () => {
    await enforce(mode);
    const { own, email, id, mfa } = await enrolled();
    assert.deepEqual(ok(await mfa.unenroll({ factorId: id })), { id });
    refused(await mfa.unenroll({ factorId: id }), 404, 'mfa_factor_not_found');
    ok(await own.auth.refreshSession());
    assert.deepEqual(await level(own), ['aal1', 'aal1']);
    const device = client();
    ok(await device.auth.signInWithPassword({ email, password: PASSWORD }));
    assert.deepEqual(await level(device), ['aal1', 'aal1']);
  });
}

test('an administrator lists and removes factors', async () => {
  await enforce('required');
  const { own, email, user, id } = await enrolled();
  const { mfa } = service().auth.admin;
  const { factors } = ok(await mfa.listFactors({ userId: user.id }));
  assert.deepEqual(factors.map((factor) => [factor.id, factor.factor_type, factor.status]), [[id, 'totp', 'verified']]);
  const other = await person();
  refused(await mfa.deleteFactor({ userId: other.user.id, id }), 404, 'mfa_factor_not_found');
  refused(await own.auth.admin.mfa.listFactors({ userId: user.id }), 403, 'not_admin');
  refused(await own.auth.admin.mfa.deleteFactor({ userId: user.id, id }), 403, 'not_admin');
  ok(await mfa.deleteFactor({ userId: user.id, id }));
  ok(await own.auth.refreshSession());
  assert.deepEqual(await level(own), ['aal1', 'aal1']);
  const device = client();
  ok(await device.auth.signInWithPassword({ email, password: PASSWORD }));
  assert.deepEqual(await level(device), ['aal1', 'aal1']);
  assert.deepEqual(ok(await mfa.listFactors({ userId: user.id })).factors, []);
});

test('recovery codes, by the flag of the client', async () => {
  await enforce('required');
  const { email, secret, id } = await enrolled();
  const flagged = () => client({ experimental: { recoveryCodes: true } });
  const own = flagged();
  ok(await own.auth.signInWithPassword({ email, password: PASSWORD }));
  ok(await own.auth.mfa.challengeAndVerify({ factorId: id, code: code(secret) }));
  const codes = own.auth.mfa.recoveryCodes;
  refused(await codes.getStatus(), 404, 'mfa_factor_not_found');
  const made = ok(await codes.generate());
  assert.deepEqual([made.type, made.total, made.codes.length], ['recovery_code', 10, 10]);
  refused(await codes.generate(), 422, 'mfa_verified_factor_exists');
  const device = flagged();
  ok(await device.auth.signInWithPassword({ email, password: PASSWORD }));
  const typed = made.codes[0].toUpperCase().match(/.{4}/g).join('-');
  const raised = ok(await device.auth.mfa.recoveryCodes.verify({ code: typed }));
  assert.equal(claims(raised).amr[1].method, 'mfa/recovery_code');
  assert.deepEqual(await level(device), ['aal2', 'aal2']);
  const status = ok(await codes.getStatus());
  assert.deepEqual([status.id, status.total, status.remaining], [made.id, 10, 9]);
  const fresh = ok(await codes.regenerate());
  assert.notDeepEqual(fresh.codes, made.codes);
  assert.deepEqual(ok(await codes.unenroll()), { id: made.id });
});
