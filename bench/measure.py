"""What bench/run.sh measures. Standard library only; psql and pgbench find the cluster by PGHOST and PGPORT.

Rounds of ours and of the yardstick take turns, so that a slow minute of the machine hits both. Printed are the median of
the rounds, the median of the ratios that each round had, and at the end every round.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PASSWORD = "correct horse battery"
USER = "00000000-0000-4000-8000-000000000007"
CLIENTS = 8
SMALL = 10_000


class Psql:
    """One backend, driven through psql."""

    def __init__(self, database):
        self.process = subprocess.Popen(
            ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", database],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"},
        )
        self.pid = int(self.ask("select pg_backend_pid()"))

    def ask(self, sql):
        self.process.stdin.write(sql.rstrip().rstrip(";") + ";\n\\echo end-of-answer\n")
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line == "end-of-answer\n":
                return "".join(lines).rstrip("\n")
            lines.append(line)
        sys.exit(f"psql ended in: {sql[:200]}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()

    def cpu(self):
        """Nanoseconds on a CPU, user and system, as the kernel counts them for the backend."""
        with open(f"/proc/{self.pid}/schedstat") as stat:
            return int(stat.read().split()[0])


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


def psql_file(database, name, **variables):
    settings = [argument for name_, value in variables.items() for argument in ("-v", f"{name_}={value}")]
    run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *settings, "-f", f"{HERE}/{name}", database)


def pgbench(database, script, seconds):
    answer = run(
        "pgbench", "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", str(seconds),
        "-D", "started=0", "-D", "token=none", "-f", f"{HERE}/{script}", database,
    )
    if "number of failed transactions: 0 " not in answer:
        sys.exit(answer)
    return float(re.search(r"^tps = ([0-9.]+)", answer, re.M).group(1))


RAW = {}


def report(title, ours, yardstick, ratio, aim="", reached=None):
    said = "" if reached is None else "yes" if reached else "NO"
    print(f"  {title:<60} {ours:>10} {yardstick:>10} {ratio:>8}  {aim:<8} {said}", flush=True)


def median(name, values):
    RAW[name] = [round(value, 3) for value in values]
    return statistics.median(values)


def ratio(ours, yardstick):
    return statistics.median(mine / its for mine, its in zip(ours, yardstick))


# N23: a million rows under a policy, each way to say whose they are.
def policies(rounds):
    db = Psql("small")
    token = db.ask(f"select auth.sign_in('user7@example.org', '{PASSWORD}') ->> 'access_token'")
    claims = db.ask(f"select auth.verify_token('{token}')")
    ways = ["constant", "uid", "subselect", "json"]

    def explain(way, workers):
        return json.loads(db.ask(f"""
            begin;
            set local max_parallel_workers_per_gather = {workers};
            set local auth.token = '{token}';
            set local request.jwt.claims = '{claims}';
            set local role by_{way};
            explain (analyze, timing off, format json) select count(*) from owned;
            commit"""))[0]

    # By CPU time: that is what a function costs, however busy the machine is.
    times = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            before = db.cpu()
            explain(way, 0)
            times[way].append((db.cpu() - before) / 1e6)
    by = {way: median(f"a {way}, CPU ms", times[way]) for way in ways}
    constant, json_ = ratio(times["uid"], times["constant"]), ratio(times["json"], times["uid"])
    report("(a) CPU ms of a million rows: bare auth.uid(), a constant", f"{by['uid']:.0f}", f"{by['constant']:.0f}", f"{constant:.2f}", "<= 1.3", constant <= 1.3)
    report("    bare auth.uid(), (select auth.uid())", f"{by['uid']:.0f}", f"{by['subselect']:.0f}", f"{ratio(times['uid'], times['subselect']):.2f}")
    report("    bare auth.uid(), claims as JSON (how much faster)", f"{by['uid']:.0f}", f"{by['json']:.0f}", f"{json_:.1f}", ">= 20", json_ >= 20)
    parallel = {way: '"Gather"' in json.dumps(explain(way, 2)) for way in ways}
    RAW["a parallel plan"] = parallel
    report("    parallel plan: bare auth.uid(), claims as JSON", str(parallel["uid"]).lower(), str(parallel["json"]).lower(), "", "true", parallel["uid"])
    db.close()


def sign_ins(db, emails):
    """CPU microseconds of one sign-in: parsing, planning and answering included."""
    before = db.cpu()
    for email in emails:
        db.ask(f"select auth.sign_in('{email}', '{PASSWORD}') ->> 'status'")
    return (db.cpu() - before) / 1000 / len(emails)


def hashing(rounds, program):
    db = Psql("small")
    hasher = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hashes(count):
        hasher.stdin.write(f"{count}\n")
        hasher.stdin.flush()
        return int(hasher.stdout.readline()) / 1000

    # What either process pays once: pages from the kernel, plans, catalog caches.
    sign_ins(db, ["default@example.org"] * 10)
    hashes(10)
    ours, bare = [], []
    for _ in range(rounds):
        # In small turns: a hash is a matter of memory, and its cost moves with whatever else the machine does.
        turns = [(sign_ins(db, ["default@example.org"] * 5), hashes(5)) for _ in range(8)]
        ours.append(statistics.median(mine for mine, _ in turns))
        bare.append(statistics.median(its for _, its in turns))
    whole = ratio(ours, bare)
    ours, bare = median("b sign_in, CPU us", ours), median("b bare hash, CPU us", bare)
    report("(b) CPU us: auth.sign_in, a bare Argon2id", f"{ours:.0f}", f"{bare:.0f}", f"{whole:.3f}", "<= 1.05", whole <= 1.05)
    hasher.stdin.close()
    hasher.wait()
    db.close()


def locked(rounds):
    """A sign-in that the guard refuses without looking at the password, beside a hash."""
    db = Psql("small")
    db.ask("""do $$ begin for i in 1..5 loop
        begin perform auth.sign_in('locked@example.org', 'wrong'); exception when invalid_password then null; end;
    end loop; end $$""")
    count, ours = 500, []
    for _ in range(rounds + 1):
        before = db.cpu()
        # Any other refusal ends the bench.
        db.ask(f"""do $$ begin for i in 1..{count} loop
            begin perform auth.sign_in('locked@example.org', 'wrong'); exception when configuration_limit_exceeded then null; end;
        end loop; end $$""")
        ours.append((db.cpu() - before) / 1000 / count)
    refused, hashed = median("b refused, CPU us", ours[1:]), statistics.median(RAW["b bare hash, CPU us"])
    report("(b) CPU us: refused sign-in of a locked account, a bare hash", f"{refused:.0f}", f"{hashed:.0f}",
           f"{refused / hashed:.4f}", "< 0.02", refused / hashed < 0.02)
    db.close()


def new_chains(database):
    """A fresh session for every client: what the last round spent would be a replay."""
    db = Psql(database)
    db.ask("truncate chains")
    users = int(db.ask("select count(*) from auth.identities")) - 2
    for client in range(CLIENTS):
        email = f"user{random.randint(1, users)}@example.org"
        db.ask(f"insert into chains select {client}, auth.sign_in('{email}', '{PASSWORD}') ->> 'refresh_token'")
    db.close()


def updates_of_sessions(database):
    counts = run("psql", "-XAtq", "-c", "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relid = 'auth.sessions'::regclass", database)
    return [int(count) for count in counts.strip().split("|")]


def refreshes(rounds, seconds):
    ours, yardstick, large = [], [], []
    before = updates_of_sessions("small")
    for _ in range(rounds):
        new_chains("small")
        ours.append(pgbench("small", "refresh.sql", seconds))
        yardstick.append(pgbench("small", "update.sql", seconds))
        new_chains("large")
        large.append(pgbench("large", "refresh.sql", seconds))
    updates, hot = (after - earlier for after, earlier in zip(updates_of_sessions("small"), before))
    share, shrink = ratio(ours, yardstick), ratio(ours, large)
    ours, yardstick, large = median("c refresh tps", ours), median("c update tps", yardstick), median("e refresh tps, large", large)
    RAW["c sessions updated, HOT"] = [updates, hot]
    report(f"(c) a second, {CLIENTS} clients: auth.refresh, an UPDATE by key", f"{ours:.0f}", f"{yardstick:.0f}", f"{share:.2f}", ">= 0.6", share >= 0.6)
    report("    of auth.sessions: HOT updates, all updates", f"{hot}", f"{updates}", f"{hot / updates:.3f}", ">= 0.95", hot >= 0.95 * updates)
    return ours, large, shrink


def tokens(rounds, count=200):
    for alg in ("ES256", "EdDSA"):
        db = Psql("small")
        db.ask(f"""
            select auth.rotate_signing_key('{alg}') is null;
            create temporary table minted (token text);
            do $$
            declare
                answer jsonb := auth.sign_in('user8@example.org', '{PASSWORD}');
            begin
                for n in 1..{count} loop
                    answer := auth.refresh(answer ->> 'refresh_token');
                    insert into minted values (answer ->> 'access_token');
                end loop;
            end $$""")
        token = db.ask("select token from minted limit 1")

        def loop(db, tokens):
            """Microseconds of one call, in the server; the role that it takes may not read the tokens."""
            db.ask(f"""
                begin;
                do $$
                declare
                    tokens text[] := {tokens};
                    token text;
                    started timestamptz := clock_timestamp();
                begin
                    foreach token in array tokens loop
                        perform auth.authenticate(token);
                    end loop;
                    perform set_config('bench.us', (extract(epoch from clock_timestamp() - started) * 1e6 / cardinality(tokens))::text, false);
                end $$;
                commit""")
            return float(db.ask("show bench.us"))

        every, same = "(select array_agg(m.token) from minted as m)", f"array_fill('{token}'::text, array[{count}])"
        loop(db, same)
        backend, cold, cached = [], [], []
        for _ in range(rounds):
            fresh = Psql("small")
            backend.append(loop(fresh, f"array['{token}']"))
            fresh.close()
            cold.append(loop(db, every))
            cached.append(loop(db, same))
        db.close()
        backend, cold, cached = median(f"d {alg} first in a backend us", backend), median(f"d {alg} cold us", cold), median(f"d {alg} cached us", cached)
        report(f"(d) us: auth.authenticate, {alg}, new token, known token", f"{cold:.0f}", f"{cached:.1f}", f"{cold / cached:.1f}")
        report(f"    us: first call of a connection, {alg}", f"{backend:.0f}", "", "")


def sizes(rounds, users, tps):
    """CPU of everything of a sign-in but the hash, which is made as cheap as it can be.

    Twice: of people whose pages nobody has written since the checkpoint, each of which then goes into the WAL as a whole
    (a small table has soon paid for all of its pages), and of people who come back.
    """
    databases = {"small": SMALL, "large": users}
    backends = {name: Psql(name) for name in databases}
    drawn = {name: random.sample(range(1, databases[name] + 1), 100 * rounds + 50) for name in databases}
    address = "user{}@example.org".format
    for name, db in backends.items():
        sign_ins(db, [address(drawn[name].pop()) for _ in range(50)])
        db.ask("checkpoint")
    first, again = ({name: [] for name in databases} for _ in range(2))
    for number in range(rounds):
        for name, db in backends.items():
            first[name].append(sign_ins(db, map_slice(address, drawn[name], number)))
    for number in range(rounds):
        for name, db in backends.items():
            again[name].append(sign_ins(db, map_slice(address, drawn[name], number)))
    for times, which, aim in ((first, "first since a checkpoint", None), (again, "again", 1.3)):
        growth = ratio(times["large"], times["small"])
        small, large = (median(f"e sign_in without hash, {which}, CPU us, {name}", times[name]) for name in databases)
        report(f"(e) CPU us: sign_in without hash, {which}, large, small", f"{large:.0f}", f"{small:.0f}", f"{growth:.2f}", *(("<= 1.3", growth <= aim) if aim else ()))
    report("    a second: auth.refresh, large, small (slower by)", f"{tps[1]:.0f}", f"{tps[0]:.0f}", f"{tps[2]:.2f}", "<= 1.3", tps[2] <= 1.3)
    print(f"    (large is {users:,} users, small {SMALL:,})")
    for db in backends.values():
        db.close()


def map_slice(function, values, number, length=100):
    return [function(value) for value in values[number * length:(number + 1) * length]]


def cheap_hash(database):
    """One string for every generated account: the password is the same, and the hash is as cheap as settings allow."""
    db = Psql(database)
    db.ask("""select auth.configure('{"argon2_memory_kib": 8, "argon2_iterations": 1}') is null""")
    db.ask(f"select auth.sign_up('cheap@example.org', '{PASSWORD}') is null")
    stored = db.ask("select encrypted_password from auth.users where email = 'cheap@example.org'")
    db.close()
    return stored


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--hash", required=True)
    options.add_argument("--users", type=int, required=True)
    options.add_argument("--rounds", type=int, required=True)
    options.add_argument("--seconds", type=int, default=3)
    options = options.parse_args()

    run("createdb", "small")
    psql_file("small", "setup.sql")
    db = Psql("small")
    db.ask(f"select auth.sign_up('default@example.org', '{PASSWORD}') is null")
    print(f"\n{db.ask('select version()')}, {os.cpu_count()} processors, fsync {db.ask('show fsync')}, jit {db.ask('show jit')}")
    db.close()
    stored = cheap_hash("small")
    psql_file("small", "users.sql", first=1, users=SMALL, hash=stored)
    run("createdb", "-T", "small", "large")
    started = time.monotonic()
    psql_file("large", "users.sql", first=SMALL + 1, users=options.users, hash=stored)
    RAW["large table made in seconds"] = round(time.monotonic() - started)

    print(f"\n  {'':<60} {'ours':>10} {'yardstick':>10} {'ratio':>8}  {'aim':<8} reached", flush=True)
    policies(options.rounds)
    default = '{"argon2_memory_kib": null, "argon2_iterations": null}'
    cheap = '{"argon2_memory_kib": 8, "argon2_iterations": 1}'
    configure = lambda settings: run("psql", "-XAtqc", f"select auth.configure('{settings}') is null", "small")
    configure(default)
    hashing(options.rounds, options.hash)
    locked(options.rounds)
    configure(cheap)
    tps = refreshes(options.rounds, options.seconds)
    tokens(options.rounds)
    sizes(options.rounds, options.users, tps)

    print("\n  every round:")
    for name, values in RAW.items():
        print(f"  {name}: {values}")


if __name__ == "__main__":
    main()
