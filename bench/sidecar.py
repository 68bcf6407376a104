"""The sidecar beside the same SQL calls by pgbench, on the same cores in the same run: what HTTP costs. Then its memory,
its start, and how many mails it sends in a second. bench/run.sh starts the cluster; wrk asks.
"""

import argparse
import atexit
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

from measure import HERE, Psql, cheap_hash, report, run

DATABASE = "bench_http"
PORT, SMTP, INBOX = 28531, 28532, 28533
URL = f"http://127.0.0.1:{PORT}"
SESSIONS = 64


class Sidecar:
    """The release build in front of the bench's cluster; ready when /health answers."""

    def __init__(self, program, **settings):
        begin = time.monotonic()
        environment = {
            "AUTH_DATABASE__URL": f"host={os.environ['PGHOST']} user=sidecar dbname={DATABASE}",
            "AUTH_DATABASE__POOL_SIZE": "16", "AUTH_HTTP__LISTEN": f"127.0.0.1:{PORT}", "AUTH_LOG__LEVEL": "error", **settings,
        }
        self.process = subprocess.Popen([program, "serve"], env=environment)
        atexit.register(self.process.kill)
        while True:
            try:
                urllib.request.urlopen(URL + "/health").read()
                break
            except (urllib.error.URLError, ConnectionError):
                if self.process.poll() is not None:
                    sys.exit("the sidecar ended at its start")
                time.sleep(0.002)
        self.start = time.monotonic() - begin

    def memory(self):
        """MiB that are resident."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024

    def end(self):
        self.process.terminate()
        self.process.wait()


def sessions(db):
    """Sessions of as many users: their tokens, in two files that wrk and pgbench read."""
    answers = [
        json.loads(db.ask(f"select auth.sign_up('user{number}@example.org', 'correct horse battery')"))
        for number in range(SESSIONS)
    ]
    db.ask("truncate chains")
    for number, answer in enumerate(answers):
        db.ask(f"insert into chains values ({number}, '{answer['refresh_token']}')")
    return [answer["access_token"] for answer in answers], [answer["refresh_token"] for answer in answers]


def wrk(tokens, clients, seconds, refreshes):
    with tempfile.NamedTemporaryFile("w", suffix=".tokens") as file:
        file.write("\n".join(tokens) + "\n")
        file.flush()
        os.chmod(file.name, 0o644)
        environment = {**os.environ, "BENCH_TOKENS": file.name, **({"BENCH_REFRESH": "1"} if refreshes else {})}
        done = subprocess.run(
            ["wrk", f"-t{clients}", f"-c{clients}", f"-d{seconds}", "--timeout", "30", "-s", f"{HERE}/sidecar.lua", URL],
            capture_output=True, text=True, env=environment)
    found = re.search(r"answers (\d+) in (\d+) microseconds, not 200: (\d+)", done.stdout)
    if not found or int(found.group(3)):
        sys.exit(f"wrk: {done.stdout}{done.stderr}")
    return int(found.group(1)) / (int(found.group(2)) / 1e6)


def pgbench(script, clients, seconds):
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        said = run("pgbench", "-n", "-M", "prepared", "-D", "started=0", "-D", "token=none", "-c", str(clients), "-j", "2", "-T", str(seconds), "-f", file.name, DATABASE)
    return float(re.search(r"tps = ([\d.]+)", said).group(1))


def rates(db, rounds, seconds):
    with open(f"{HERE}/refresh.sql") as script:
        refresh = script.read()
    for clients in (1, 16, 64):
        for title, aim in (("refresh", 0.5), ("GET /user", None)):
            ours, yardstick = [], []
            for _ in range(rounds):
                access, tokens = sessions_again(db)
                if title == "refresh":
                    yardstick.append(pgbench(refresh, clients, seconds))
                    access, tokens = sessions_again(db)
                    ours.append(wrk(tokens, clients, seconds, True))
                else:
                    get_user = ("begin; select set_config('auth.token', '%s', true); select auth.get_user(); commit;\n" % access[0])
                    yardstick.append(pgbench(get_user, clients, seconds))
                    ours.append(wrk(access, clients, seconds, False))
            ratios = [a / b for a, b in zip(ours, yardstick)]
            ratio = statistics.median(ratios)
            report(
                f"HTTP {title}, {clients} connections", f"{statistics.median(ours):.0f}/s",
                f"SQL by pgbench {statistics.median(yardstick):.0f}/s", f"{ratio:.2f}",
                f"at least {aim}" if aim else "", ratio >= aim if aim else None)


def sessions_again(db):
    """The same users, each with a new session."""
    db.ask("delete from auth.users")
    return sessions(db)


def mails(program, db, count):
    inbox = subprocess.Popen(
        [program, "inbox", "--smtp", f"127.0.0.1:{SMTP}", "--http", f"127.0.0.1:{INBOX}"], stdout=subprocess.DEVNULL)
    atexit.register(inbox.kill)
    db.ask(f"select count(auth.send_otp('mail' || n || '@example.org')) from generate_series(1, {count}) as n")
    begin = time.monotonic()
    sidecar = Sidecar(
        program, AUTH_SMTP__HOST="127.0.0.1", AUTH_SMTP__PORT=str(SMTP), AUTH_SMTP__TLS="none",
        AUTH_SMTP__SENDER="Auth <auth@example.org>", AUTH_COURIER__BATCH="100")
    while int(db.ask("select auth.outbox_status() ->> 'pending'")):
        time.sleep(0.02)
    duration = time.monotonic() - begin
    sent = int(db.ask("select auth.outbox_status() ->> 'sent'"))
    sidecar.end()
    inbox.terminate()
    if sent != count:
        sys.exit(f"{sent} of {count} mails were sent")
    print(f"mails from the outbox to a relay on the same machine: {count / duration:.0f}/s ({count} mails)")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sidecar", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--mails", type=int, default=2000)
    options = parser.parse_args()
    run("createdb", DATABASE)
    db = Psql(DATABASE)
    db.ask("create extension auth")
    db.ask("create role sidecar login in role auth_sidecar")
    db.ask("create table chains (client int primary key, refresh_token text not null)")
    cheap_hash(DATABASE)
    db.ask("""select auth.configure('{"rate_limit_enabled": false, "access_token_ttl": 86400}')""")
    starts = []
    for _ in range(5):
        sidecar = Sidecar(options.sidecar)
        starts.append(sidecar.start)
        rest = sidecar.memory()
        sidecar.end()
    report("sidecar ready after its start", f"{statistics.median(starts) * 1000:.0f} ms", "", "", "under 200 ms",
           statistics.median(starts) < 0.2)
    report("sidecar memory at rest", f"{rest:.1f} MiB", "", "", "under 30 MiB", rest < 30)
    sidecar = Sidecar(options.sidecar)
    rates(db, options.rounds, options.seconds)
    print(f"sidecar memory after that: {sidecar.memory():.1f} MiB")
    sidecar.end()
    mails(options.sidecar, db, options.mails)
    db.close()


if __name__ == "__main__":
    main()
