"""What the second step of a sign-in costs the database: auth.verify_totp, which ends in a session, beside an UPDATE by key.

Standard library only; psql finds the cluster by PGHOST and PGPORT.
"""

import argparse
import base64
import hashlib
import hmac
import json
import statistics
import struct
import time

from measure import PASSWORD, Psql, run

STEP = 30


def code(secret, step):
    """RFC 6238, as authenticator apps do it."""
    digest = hmac.digest(base64.b32decode(secret), struct.pack(">Q", step), hashlib.sha1)
    start = digest[-1] & 15
    return f"{(int.from_bytes(digest[start:start + 4], 'big') & 0x7FFFFFFF) % 10**6:06}"


def waiting(db, email, step):
    """Somebody with an app, half signed in: the challenge, and the secret."""
    token = json.loads(db.ask(f"select auth.sign_up('{email}', '{PASSWORD}')"))["access_token"]

    def as_user(call):
        return json.loads(db.ask(f"""
            begin; set local auth.token = '{token}'; set local role authenticated;
            select {call}; commit"""))

    made = as_user("auth.enroll_totp('app')")
    as_user(f"auth.confirm_totp('{made['factor_id']}', '{code(made['secret'], step - 1)}')")
    answer = json.loads(db.ask(f"select auth.sign_in('{email}', '{PASSWORD}')"))
    return answer["challenge_token"], made["secret"]


def cpu(db, statements):
    """CPU microseconds of one: parsing, planning and answering included."""
    before = db.cpu()
    for statement in statements:
        db.ask(statement)
    return (db.cpu() - before) / 1000 / len(statements)


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, required=True)
    options.add_argument("--people", type=int, default=40)
    options = options.parse_args()

    run("createdb", "steps")
    db = Psql("steps")
    db.ask("create extension auth")
    db.ask("""select auth.configure('{"argon2_memory_kib": 8, "argon2_iterations": 1, "rate_limit_enabled": false}') is null""")
    db.ask("create table counters (id int primary key, value bigint not null)")
    db.ask("insert into counters select n, 0 from generate_series(1, 1000) as n")
    ours, updates = [], []
    for number in range(options.rounds + 1):
        step = int(time.time()) // STEP
        people = [waiting(db, f"user{number}-{person}@example.org", step) for person in range(options.people)]
        verify = [f"select auth.verify_totp('{challenge}', '{code(secret, step)}') ->> 'status'" for challenge, secret in people]
        update = [f"update counters set value = value + 1 where id = {person + 1}" for person in range(options.people)]
        # The first round warms caches and plans.
        ours.append(cpu(db, verify))
        updates.append(cpu(db, update))
    ratio = statistics.median(mine / its for mine, its in zip(ours[1:], updates[1:]))
    print(f"CPU us: auth.verify_totp {statistics.median(ours[1:]):.0f}, an UPDATE by key "
          f"{statistics.median(updates[1:]):.0f}, ratio {ratio:.1f}; a second on one core {1e6 / statistics.median(ours[1:]):.0f}")
    db.close()


if __name__ == "__main__":
    main()
