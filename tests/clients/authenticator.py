"""Reads what enrolment answers as an authenticator app does: a reader of QR codes, pyotp and oathtool."""

import base64
import io
import os
import subprocess

import pyotp
import resvg_py
import zxingcpp
from PIL import Image

uri, secret = os.environ["URI"], os.environ["SECRET"]

kind, picture = os.environ["QR_CODE"].split(",", 1)
assert kind == "data:image/svg+xml;base64", kind
svg = base64.b64decode(picture).decode()
png = resvg_py.svg_to_bytes(svg_string=svg, width=480)
found = zxingcpp.read_barcodes(Image.open(io.BytesIO(bytes(png))).convert("L"))
assert [code.text for code in found] == [uri], found

app = pyotp.parse_uri(uri)
assert isinstance(app, pyotp.TOTP) and app.secret == secret, app
assert (app.issuer, app.name) == (os.environ["ISSUER"], os.environ["ACCOUNT"]), (app.issuer, app.name)
assert (app.digits, app.interval) == (6, 30)
assert app.verify(os.environ["CODE"], valid_window=1)

shown = subprocess.run(["oathtool", "--totp", "-b", "-w", "2", "-N", "now - 30 seconds", secret], capture_output=True, text=True, check=True)
assert os.environ["CODE"] in shown.stdout.split(), shown.stdout
print("ok 1 - an authenticator app reads what enrolment answers")
