// supabase-js keeps the session, refreshes it, and takes over what a mailed link brings along in the address.
const settings = await (await fetch('/settings.json')).json();
const { auth } = supabase.createClient(settings.url, settings.key, { auth: { flowType: 'pkce' } });

const $ = (id) => document.getElementById(id);
const say = (text) => { $('message').textContent = text; };
const credentials = () => ({ email: $('email').value, password: $('password').value });
const back = `${location.origin}/`;

// The protected part: shown to whoever has a session, and its data given by the server to nobody else.
async function show(session) {
  $('outside').hidden = session !== null;
  $('inside').hidden = session === null;
  $('who').textContent = session?.user.email ?? '';
  if (session === null) return $('notes').replaceChildren();
  const rows = await notes('GET');
  $('notes').replaceChildren(...rows.map(({ body }) => Object.assign(document.createElement('li'), { textContent: body })));
}

async function notes(method, note) {
  const { data: { session } } = await auth.getSession();
  const headers = { authorization: `Bearer ${session?.access_token}`, 'content-type': 'application/json' };
  const answer = await fetch('/notes', { method, headers, body: note && JSON.stringify(note) });
  if (answer.ok) return answer.json();
  // The session was ended elsewhere.
  if (answer.status === 401) await auth.signOut({ scope: 'local' });
  say((await answer.json()).message);
  return [];
}

async function attempt(call, done) {
  const { error } = await call;
  say(error ? error.message : done);
}

$('outside').addEventListener('submit', (event) => {
  event.preventDefault();
  attempt(auth.signInWithPassword(credentials()), '');
});
$('sign-up').addEventListener('click', () => {
  attempt(auth.signUp({ ...credentials(), options: { emailRedirectTo: back } }), 'Look into your mail.');
});
$('mail-link').addEventListener('click', () => {
  const { email } = credentials();
  attempt(auth.signInWithOtp({ email, options: { emailRedirectTo: back } }), 'Look into your mail.');
});
$('sign-out').addEventListener('click', () => attempt(auth.signOut(), 'Signed out.'));
$('add').addEventListener('submit', async (event) => {
  event.preventDefault();
  await notes('POST', { body: $('note').value });
  $('note').value = '';
  show((await auth.getSession()).data.session);
});

// What went wrong with a link stands behind the #.
const trouble = new URLSearchParams(location.hash.slice(1)).get('error_description');
if (trouble) say(trouble);

// Calls of the client wait for this callback, so it only begins them.
auth.onAuthStateChange((event, session) => {
  if (event === 'TOKEN_REFRESHED') return;
  setTimeout(() => show(session), 0);
});
