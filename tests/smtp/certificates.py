"""Writes certificates for a relay on this machine: ca.pem, then NAME.pem and NAME.key signed by it or by themselves.

    good         of 127.0.0.1 and localhost
    wrong-name   of mail.example.org
    expired      of 127.0.0.1, until yesterday
    self-signed  of 127.0.0.1, signed by nobody else
"""

import datetime
import ipaddress
import pathlib
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

directory = pathlib.Path(sys.argv[1])
now = datetime.datetime.now(datetime.timezone.utc)
day = datetime.timedelta(days=1)
local = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def make(text, names, issuer=None, until=now + day, authority=False):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = name(text)
    signer_name, signer = issuer or (subject, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 3 * day)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    certificate = builder.sign(signer, hashes.SHA256())
    (directory / f"{text}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / f"{text}.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return subject, key


authority = make("ca", [], authority=True)
make("good", local, authority)
make("wrong-name", [x509.DNSName("mail.example.org")], authority)
make("expired", local, authority, until=now - day)
make("self-signed", local)
