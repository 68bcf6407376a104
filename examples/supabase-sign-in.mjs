// A person of the main job signs in over HTTP with an unmodified supabase-js, refreshes, and signs out.
//
// Wants AUTH_URL, ANON_KEY, AUTH_NODE_MODULES (where @supabase/supabase-js is installed), and the address and password as
// arguments. Prints one line for each answer; exits with 1 where an answer is another.
import { createRequire } from "node:module";

const { createClient } = createRequire(`${process.env.AUTH_NODE_MODULES}/`)("@supabase/supabase-js");
const [email, password] = process.argv.slice(2);
const supabase = createClient(process.env.AUTH_URL, process.env.ANON_KEY, { auth: { persistSession: false } });

function show(call, { data, error }, expected) {
  const said = error && (error.code ? `${error.status} ${error.code}` : error.name);
  const answer = said ?? data?.user?.email ?? "done";
  console.log(`      ${call.padEnd(46)} -> ${answer}`);
  if (answer !== expected) throw new Error(`${call}: expected ${expected}`);
  return data;
}

show("signInWithPassword, a wrong password",
  await supabase.auth.signInWithPassword({ email, password: "not the password" }), "400 invalid_credentials");
const { session } = show("signInWithPassword", await supabase.auth.signInWithPassword({ email, password }), email);
show("getUser", await supabase.auth.getUser(), email);
show("refreshSession", await supabase.auth.refreshSession(), email);
show("signOut, of every session", await supabase.auth.signOut({ scope: "global" }), "done");
show("getUser with the first access token", await supabase.auth.getUser(session.access_token), "AuthSessionMissingError");
