// Serves the page, and the notes of whoever brings a token. Who that is and what they may see, the database says: the server
// logs in as a member of anon and authenticated, and has no secret of its own.
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const require = createRequire(`${process.env.NODE_MODULES ?? here('node_modules')}/`);
const pg = require('pg');

const pool = new pg.Pool({ connectionString: process.env.APP_DATABASE_URL, max: 4 });
const settings = { url: process.env.AUTH_URL ?? 'http://127.0.0.1:9999', key: process.env.ANON_KEY ?? 'anon' };
const files = {
  '/': ['text/html', here('public/index.html')],
  '/app.mjs': ['text/javascript', here('public/app.mjs')],
  '/supabase.js': ['text/javascript', require.resolve('@supabase/supabase-js/dist/umd/supabase.js')],
};

// One transaction: it says who asks, then works as they; COMMIT and ROLLBACK forget them.
async function as(token, work) {
  const db = await pool.connect();
  try {
    await db.query('begin');
    await db.query('select auth.authenticate($1)', [token]);
    const result = await work(db);
    await db.query('commit');
    return result;
  } catch (error) {
    await db.query('rollback');
    throw error;
  } finally {
    db.release();
  }
}

const notes = {
  GET: (db) => db.query('select id, body from notes order by id'),
  POST: (db, { body }) => db.query('insert into notes (body) values ($1) returning id, body', [body]),
};

async function data(request) {
  const token = request.headers.authorization?.match(/^Bearer (\S+)$/)?.[1] ?? null;
  if (token === null) return [401, { message: 'sign in first' }];
  let body = '';
  for await (const part of request) if ((body += part).length > 10_000) return [413, { message: 'too long' }];
  try {
    const { rows } = await as(token, (db) => notes[request.method](db, JSON.parse(body || '{}')));
    return [200, rows];
  } catch (error) {
    // 28000: the token is not good, or not any more. The detail is the code word.
    if (error.code === '28000') return [401, { message: error.message, code: error.detail }];
    if (error.code === '42501') return [403, { message: 'not yours' }];
    console.error(error);
    return [500, { message: 'something went wrong' }];
  }
}

async function answer(request) {
  const { pathname } = new URL(request.url, 'http://localhost');
  if (pathname === '/notes' && notes[request.method]) {
    const [status, value] = await data(request);
    return [status, 'application/json', JSON.stringify(value)];
  }
  if (pathname === '/settings.json') return [200, 'application/json', JSON.stringify(settings)];
  const [type, path] = files[pathname] ?? [];
  return path ? [200, `${type}; charset=utf-8`, await readFile(path)] : [404, 'text/plain', 'not found'];
}

const server = http.createServer(async (request, response) => {
  const [status, type, body] = await answer(request).catch(() => [400, 'text/plain', 'bad request']);
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' });
  response.end(body);
});
server.listen(Number(process.env.PORT ?? 3000), '127.0.0.1', () => {
  console.log(`http://localhost:${server.address().port}`);
});
