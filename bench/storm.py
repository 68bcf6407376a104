"""What other queries keep while everybody signs in at once (B025). Standard library only; run by run.sh after measure.py.

A small select-only load, alone and beside 200 clients that sign in in a loop: with the gate as it is by default, and with a
gate so wide that nobody waits. Every round has all of them, one after the other; a ratio is to the load alone in the same
round, and the median of the rounds is printed.
"""

import argparse
import glob
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from measure import HERE, PASSWORD, Psql, psql_file, run

DATABASE = "storm"
USERS = 300
CLIENTS = 200


class Memory(threading.Thread):
    """The most memory that the server's processes have had of their own at once, in MiB."""

    def __init__(self, data):
        super().__init__(daemon=True)
        with open(f"{data}/postmaster.pid") as file:
            self.postmaster = file.readline().strip()
        self.most, self.over = 0, threading.Event()

    def run(self):
        # Seldom enough not to be a load of its own.
        while not self.over.wait(0.5):
            with open(f"/proc/{self.postmaster}/task/{self.postmaster}/children") as file:
                self.most = max(self.most, sum(own_memory(process) for process in file.read().split()) / 1024)

    def end(self):
        self.over.set()
        self.join()
        return self.most


def own_memory(process):
    try:
        with open(f"/proc/{process}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("RssAnon:")), 0)
    except OSError:
        return 0


def bystander(seconds):
    """Transactions a second, and the 99th percentile of their milliseconds."""
    with tempfile.TemporaryDirectory() as directory:
        run(
            "pgbench", "-n", "-S", "-M", "prepared", "-c", "2", "-j", "2", "-T", str(seconds),
            "-l", f"--log-prefix={directory}/log", DATABASE,
        )
        microseconds = sorted(int(line.split()[2]) for name in glob.glob(f"{directory}/log*") for line in open(name))
    return len(microseconds) / seconds, microseconds[len(microseconds) * 99 // 100] / 1000


def beside(db, data, limit, seconds):
    """The same beside the storm; and its hashes a second, how many were refused, and the server's memory."""
    db.ask(f"alter system set auth.max_concurrent_hashes = {limit}")
    db.ask("select pg_reload_conf()")
    while db.ask("show auth.max_concurrent_hashes") != str(limit):
        time.sleep(0.1)
    status = lambda: [int(number) for number in db.ask(
        "select s ->> 'waiting', s ->> 'running', s ->> 'hashes', s ->> 'refused' from auth.gate_status() as s").split("|")]
    clients = subprocess.Popen(
        ["pgbench", "-n", "-M", "prepared", "-c", str(CLIENTS), "-j", "2", "-T", "3600",
         "-D", f"users={USERS}", "-f", f"{HERE}/storm.sql", DATABASE],
        stdout=subprocess.DEVNULL,
    )
    # All have connected, and most are hashing or waiting to.
    connected = f"select count(*) from pg_stat_activity where datname = '{DATABASE}' and application_name = 'pgbench'"
    while int(db.ask(connected)) < CLIENTS or sum(status()[:2]) < CLIENTS // 2:
        if clients.poll() is not None:
            sys.exit("the storm did not begin")
        time.sleep(0.1)
    memory = Memory(data)
    memory.start()
    before = status()
    tps, p99 = bystander(seconds)
    after = status()
    most = memory.end()
    if clients.poll() is not None:
        sys.exit("the storm was over too early")
    clients.terminate()
    clients.wait()
    db.ask("select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'pgbench'")
    while sum(status()[:2]) > 0 or int(db.ask(connected)) > 0:
        time.sleep(0.1)
    return tps, p99, (after[2] - before[2]) / seconds, after[3] - before[3], most


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--data", required=True)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--seconds", type=int, default=10)
    options.add_argument("--limits", default="0,1024")
    options = options.parse_args()

    run("createdb", DATABASE)
    run("pgbench", "-i", "-q", "-s", "10", DATABASE)
    db = Psql(DATABASE)
    db.ask("create extension auth")
    # A client of pgbench ends with the first error; whoever is refused tries again instead.
    db.ask("""
        create function storm(email text) returns void language plpgsql as $$
        begin
            perform auth.sign_in(email, '%s');
        exception
            when configuration_limit_exceeded then null;
        end $$""" % PASSWORD)
    db.ask(f"select auth.sign_up('one@example.org', '{PASSWORD}') is null")
    stored = db.ask("select encrypted_password from auth.users")
    psql_file(DATABASE, "users.sql", first=1, users=USERS, hash=stored)

    alone, kept = [], {limit: [] for limit in options.limits.split(",")}
    for _ in range(options.rounds):
        memory = Memory(options.data)
        memory.start()
        alone.append((*bystander(options.seconds), 0, 0, memory.end()))
        for limit in kept:
            kept[limit].append(beside(db, options.data, limit, options.seconds))
    db.ask("alter system reset auth.max_concurrent_hashes")
    db.ask("select pg_reload_conf()")

    print(f"\n  {'(f) select-only load, 2 clients':<46} {'tps':>8} {'kept':>6} {'p99 ms':>8} {'ratio':>6} {'hashes/s':>9} {'refused':>8} {'MiB':>6}")
    line = lambda title, figures, share, slower: print(
        f"  {title:<46} {figures[0]:>8.0f} {share:>6} {figures[1]:>8.2f} {slower:>6} {figures[2]:>9.1f} {figures[3]:>8.0f} {figures[4]:>6.0f}", flush=True)
    middle = lambda rounds: [statistics.median(column) for column in zip(*rounds)]
    line("alone", middle(alone), "", "")
    for limit, rounds in kept.items():
        share = statistics.median(mine[0] / its[0] for mine, its in zip(rounds, alone))
        slower = statistics.median(mine[1] / its[1] for mine, its in zip(rounds, alone))
        title = "the default gate" if limit == "0" else f"a gate of {limit}"
        line(f"beside {CLIENTS} who sign in, {title}", middle(rounds), f"{share:.2f}", f"{slower:.2f}")
        if limit == "0":
            print(f"  {'    aim: kept >= 0.4, p99 <= 3 times':<46} {'':>8} {'yes' if share >= 0.4 else 'NO':>6} {'':>8} {'yes' if slower <= 3 else 'NO':>6}")
    print("\n  every round:")
    for title, rounds in {"alone": alone, **kept}.items():
        print(f"  f {title}: {[[round(figure, 2) for figure in one] for one in rounds]}")
    db.close()


main()
