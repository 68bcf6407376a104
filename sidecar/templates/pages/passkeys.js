// Passkeys and security keys, the only part of the pages that needs a script. What a page wants is in the data of its element #passkey.
'use strict';

const place = document.getElementById('passkey');
const message = place.querySelector('[role=alert]');
const { base, act } = place.dataset;

async function ask(step, body) {
  const answer = await fetch(`${base}/${step}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body: JSON.stringify(body),
  });
  const told = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(told.sentence ?? place.dataset.failed), { field: told.field });
  return told;
}

// What a person has cancelled needs no words.
function say(error) {
  const isCancelled = ['AbortError', 'NotAllowedError'].includes(error.name);
  message.textContent = isCancelled ? '' : error.name === 'Error' ? error.message : place.dataset.failed;
  const field = document.getElementById(error.field ?? '');
  if (field) {
    field.closest('[hidden]')?.removeAttribute('hidden');
    field.focus();
  }
}

async function finish(started, credential, more) {
  const { location } = await ask('finish', { challenge_id: started.challenge_id, credential: credential.toJSON(), ...more });
  window.location.assign(location);
}

async function register() {
  const started = await ask('start', {});
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(started.options);
  const credential = await navigator.credentials.create({ publicKey });
  await finish(started, credential, { name: document.getElementById('name').value });
}

async function signUp() {
  const email = document.getElementById('email').value;
  const started = await ask('start', { email });
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(started.options);
  const credential = await navigator.credentials.create({ publicKey });
  await finish(started, credential, { email, redirect_to: place.dataset.redirectTo });
}

// What a security key answers is sent with its form, and the next page comes as after any other.
async function answer(form) {
  const started = await ask('start', Object.fromEntries(new FormData(form)));
  const { type, credential_options: options } = started.webauthn;
  const credential = type === 'create'
    ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options.publicKey) })
    : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey) });
  form.elements.challenge.value = started.id;
  form.elements.credential.value = JSON.stringify(credential.toJSON());
  form.submit();
}

// One challenge for the offer in the field and for the button.
let begun;
let offer;

async function begin() {
  if (!begun || begun.expires_at * 1000 < Date.now() + 60_000) begun = await ask('start', {});
  return begun;
}

async function signIn(mediation) {
  offer?.abort();
  offer = new AbortController();
  const { signal } = offer;
  const started = await begin();
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(started.options);
  const credential = await navigator.credentials.get({ publicKey, mediation, signal });
  begun = undefined;
  await finish(started, credential, { redirect_to: place.dataset.redirectTo });
}

const form = place.querySelector('form');
const acts = { register, key: () => answer(form), 'sign-in': () => signIn('optional'), 'sign-up': signUp };
const instead = document.getElementById('no-passkey');
if (window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  place.hidden = false;
  if (instead) instead.hidden = true;
  (form ?? place.querySelector('button')).addEventListener(form ? 'submit' : 'click', (event) => {
    event.preventDefault();
    message.textContent = '';
    acts[act]().catch(say);
  });
  if (act === 'sign-in') {
    PublicKeyCredential.isConditionalMediationAvailable?.().then((is) => is && signIn('conditional')).catch(say);
  }
} else if (instead) {
  instead.textContent = instead.dataset.notHere;
}
