// A ceremony of the tests' own authenticator, as a library of somebody else sees it.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import test from 'node:test';

const require = createRequire(`${process.env.AUTH_NODE_MODULES}/`);
const { verifyAuthenticationResponse, verifyRegistrationResponse } = require('@simplewebauthn/server');

for (const { algorithm, registration, assertion, origin, rpId } of JSON.parse(process.env.CEREMONIES)) {
  const expected = { expectedOrigin: origin, expectedRPID: rpId };
  test(algorithm, async () => {
    const made = await verifyRegistrationResponse({
      response: registration.credential,
      expectedChallenge: registration.challenge,
      ...expected,
    });
    assert.ok(made.verified);
    const signed = {
      response: assertion.credential,
      expectedChallenge: assertion.challenge,
      credential: made.registrationInfo.credential,
      ...expected,
    };
    assert.ok((await verifyAuthenticationResponse(signed)).verified);
    await assert.rejects(verifyAuthenticationResponse({ ...signed, expectedOrigin: 'https://evil.test' }));
  });
}
