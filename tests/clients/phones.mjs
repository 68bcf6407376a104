// Signing in by phone, by supabase-js.
import assert from 'node:assert/strict';
import test from 'node:test';

import { claims, client, ok, refused, sms } from './stage.mjs';

let numbers = 10000;
const number = () => `+49151123${numbers++}`;

test('a number signs in by the code that it was sent, and is the same account again', async () => {
  const phone = number();
  const own = client();
  ok(await own.auth.signInWithOtp({ phone, options: { data: { name: 'Ada' } } }));
  const { code, text } = await sms(phone);
  assert.match(text, /@app\.example\.org #\d{6}$/);
  refused(await client().auth.verifyOtp({ phone, token: code === '000000' ? '000001' : '000000', type: 'sms' }), 403, 'otp_expired');
  const { session, user } = ok(await own.auth.verifyOtp({ phone, token: code, type: 'sms' }));
  assert.deepEqual([user.phone, user.email, user.user_metadata], [phone.slice(1), '', { name: 'Ada' }]);
  assert.deepEqual([user.app_metadata.provider, user.identities[0].provider], ['phone', 'phone']);
  assert.equal(claims(session).amr[0].method, 'sms');
  refused(await client().auth.verifyOtp({ phone, token: code, type: 'sms' }), 403, 'otp_expired');

  const other = client();
  ok(await other.auth.signInWithOtp({ phone, options: { shouldCreateUser: false, channel: 'sms' } }));
  const again = ok(await other.auth.verifyOtp({ phone, token: (await sms(phone)).code, type: 'sms' }));
  assert.equal(again.user.id, user.id);
  assert.equal(ok(await other.auth.getUser()).user.phone, phone.slice(1));
});

test('an SMS that does not come is sent again, and the code before is void', async () => {
  const phone = number();
  const own = client();
  ok(await own.auth.signInWithOtp({ phone }));
  const first = await sms(phone);
  ok(await own.auth.resend({ type: 'sms', phone }));
  const second = await sms(phone);
  if (first.code !== second.code) {
    refused(await own.auth.verifyOtp({ phone, token: first.code, type: 'sms' }), 403, 'otp_expired');
  }
  ok(await own.auth.verifyOtp({ phone, token: second.code, type: 'sms' }));
});

test('a user changes the number, with the code that the new one was sent', async () => {
  const [old, phone] = [number(), number()];
  const own = client();
  ok(await own.auth.signInWithOtp({ phone: old }));
  const { user } = ok(await own.auth.verifyOtp({ phone: old, token: (await sms(old)).code, type: 'sms' }));
  const waiting = ok(await own.auth.updateUser({ phone })).user;
  assert.deepEqual([waiting.phone, waiting.new_phone], [old.slice(1), phone.slice(1)]);
  const first = await sms(phone);
  ok(await own.auth.resend({ type: 'phone_change', phone }));
  const second = await sms(phone);
  refused(await own.auth.verifyOtp({ phone, token: second.code, type: 'sms' }), 403, 'otp_expired');
  if (first.code !== second.code) {
    refused(await own.auth.verifyOtp({ phone, token: first.code, type: 'phone_change' }), 403, 'otp_expired');
  }
  const changed = ok(await own.auth.verifyOtp({ phone, token: second.code, type: 'phone_change' }));
  assert.deepEqual([changed.user.id, changed.user.phone], [user.id, phone.slice(1)]);
  refused(await own.auth.verifyOtp({ phone, token: second.code, type: 'phone_change' }), 403, 'otp_expired');
  assert.equal(ok(await own.auth.getUser()).user.phone, phone.slice(1));
});

test('what is no number, and a password by phone, are refused', async () => {
  refused(await client().auth.signInWithOtp({ phone: '555-0123' }), 400, 'validation_failed');
  refused(await client().auth.signUp({ phone: number(), password: 'correct horse battery' }), 422, 'phone_provider_disabled');
  refused(await client().auth.signInWithPassword({ phone: number(), password: 'x' }), 422, 'phone_provider_disabled');
});
