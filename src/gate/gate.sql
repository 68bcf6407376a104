-- The hash gate.

create function auth.gate_status()
returns jsonb
language c
volatile
as 'MODULE_PATHNAME', 'gate_status_wrapper';

comment on function auth.gate_status() is
    'Password hashing on this server: {hashes: how many were run since start, limit: how many may run at once, running: how many do, most_running: the most that did, waiting: how many wait for a place, refused: how many were refused with 53400 hash_gate_busy since start}. For auth_admin.';
