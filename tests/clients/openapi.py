"""Schemathesis against the sidecar's own description, as the bearer of AUTH_BEARER."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

url = os.environ["AUTH_URL"]
bearer = os.environ["AUTH_BEARER"]
checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance"
command = [
    str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json",
    "--checks", checks, "--phases", "examples,coverage,fuzzing", "--max-examples", "10",
    "--mode", "all", "--seed", "1", "--generation-deterministic", "--continue-on-failure",
    "--suppress-health-check", "all", "--no-color", "--warnings", "off", "--request-timeout", "30",
]
if not bearer:
    # Refusals in their newer form, here; in the older one otherwise.
    command += ["--header", "X-Supabase-Api-Version: 2024-01-01"]
else:
    # Whoever has signed out is nobody for the rest.
    command += ["--header", f"Authorization: Bearer {bearer}", "--exclude-path", "/logout"]
with tempfile.TemporaryDirectory() as directory:
    # The bearer is given; nobody shall sign up for another.
    Path(directory, "schemathesis.toml").write_text("[auth]\nauto-signup = false\n")
    done = subprocess.run(command, capture_output=True, text=True, cwd=directory)
print(("not ok" if done.returncode else "ok") + " 1 - schemathesis")
if done.returncode:
    print(done.stdout[-200000:], done.stderr[-2000:])
raise SystemExit(done.returncode)
