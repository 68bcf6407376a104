"""Writes attestation.json: attested keys, good and bad, made with the package cryptography and CBOR written by hand."""
import datetime
import hashlib
import json
import os
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime(2026, 11, 1)
YEAR = datetime.timedelta(days=365)
AAGUID = bytes(range(16))
MODEL = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
UNIT = "Authenticator Attestation"
RP_ID, ORIGIN = "example.org", "https://example.org"


def cbor(value):
    def head(major, number):
        if number < 24:
            return bytes([major << 5 | number])
        if number < 256:
            return bytes([major << 5 | 24, number])
        return bytes([major << 5 | 25]) + number.to_bytes(2, "big")

    match value:
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value)) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            return head(5, len(value)) + b"".join(cbor(key) + cbor(item) for key, item in value.items())


def name(unit=UNIT, country="AQ", common="An authenticator"):
    parts = [(NameOID.COUNTRY_NAME, country), (NameOID.ORGANIZATION_NAME, "Nobody"), (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
             (NameOID.COMMON_NAME, common)]
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in parts if text])


def certificate(key, subject, issuer, issuer_key, is_authority=False, model=AAGUID, critical=False, usage=None,
                start=NOW - YEAR, end=NOW + 50 * YEAR):
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
               .serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)
               .add_extension(x509.BasicConstraints(is_authority, None), critical=True))
    if model and not is_authority:
        builder = builder.add_extension(x509.UnrecognizedExtension(MODEL, b"\x04\x10" + model), critical)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
    algorithm = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(issuer_key, algorithm)


def der(one):
    return one.public_bytes(serialization.Encoding.DER)


def pem(*all_):
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in all_)


def sign(key, message):
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.sign(message, ec.ECDSA(hashes.SHA256()))
        case rsa.RSAPrivateKey():
            return key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        case _:
            return key.sign(message)


def curve():
    return ec.generate_private_key(ec.SECP256R1())


ROOT_NAME, ROOT_KEY = name("Roots", common="A root"), curve()
ROOT = certificate(ROOT_KEY, ROOT_NAME, ROOT_NAME, ROOT_KEY, is_authority=True)
MAKER_NAME, MAKER_KEY = name("Between", common="A maker"), curve()
MAKER = certificate(MAKER_KEY, MAKER_NAME, ROOT_NAME, ROOT_KEY, is_authority=True)
KEY = curve()


def leaf(key=KEY, subject=name(), **more):
    return certificate(key, subject, ROOT_NAME, ROOT_KEY, **more)


def made(title, is_good, certificates, key=KEY, algorithm=-7, roots=(ROOT,), change=b"", fmt="packed", statement=None):
    """One ceremony; `change` is signed in place of what is to be signed."""
    credential, challenge, own = os.urandom(32), os.urandom(32), curve()
    point = own.public_key().public_numbers()
    cose = cbor({1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")})
    data = (hashlib.sha256(RP_ID.encode()).digest() + bytes([0x41]) + bytes(4) + AAGUID + len(credential).to_bytes(2, "big")
            + credential + cose)
    import base64
    text = base64.urlsafe_b64encode(challenge).rstrip(b"=").decode()
    client = json.dumps({"type": "webauthn.create", "challenge": text, "origin": ORIGIN, "crossOrigin": False}).encode()
    message = data + hashlib.sha256(client).digest()
    if statement is None:
        signature = sign(key or own, change or message)
        statement = {"alg": algorithm, "sig": signature}
        if certificates:
            statement["x5c"] = [der(one) for one in certificates]
    object_ = cbor({"fmt": fmt, "attStmt": statement, "authData": data})
    return {"name": title, "is_good": is_good, "roots": pem(*roots), "credential_id": credential.hex(),
            "challenge": challenge.hex(), "clientDataJSON": client.hex(), "attestationObject": object_.hex()}


def vectors():
    rsa_key, ed_key, other = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate(), curve()
    by_maker = certificate(KEY, name(), MAKER_NAME, MAKER_KEY)
    by_leaf = certificate(other, name(common="Another"), name(), KEY)
    alone = certificate(KEY, name(), name(), KEY)
    second = certificate(other, name("Roots"), name("Roots"), other, is_authority=True)
    return [
        made("by the root", True, [leaf()]),
        made("by a maker in between", True, [by_maker, MAKER]),
        made("by one of two roots", True, [leaf()], roots=(second, ROOT)),
        made("with RSA", True, [leaf(rsa_key)], rsa_key, -257),
        made("with Ed25519", True, [leaf(ed_key)], ed_key, -8),
        made("without a model", True, [leaf(model=None)]),
        made("by another root", False, [leaf()], roots=(second,)),
        made("without the maker", False, [by_maker]),
        made("by a leaf", False, [by_leaf, leaf()], other),
        made("by itself", False, [alone]),
        made("the root itself", False, [ROOT], ROOT_KEY),
        made("over", False, [leaf(end=NOW - YEAR / 2)]),
        made("not yet", False, [leaf(start=NOW + YEAR)]),
        made("an authority", False, [leaf(is_authority=True)]),
        made("of a server", False, [leaf(usage=ExtendedKeyUsageOID.SERVER_AUTH)]),
        made("of another model", False, [leaf(model=bytes(16))]),
        made("with a critical model", False, [leaf(critical=True)]),
        made("of another unit", False, [leaf(subject=name("Authenticators"))]),
        made("of no unit", False, [leaf(subject=name(None))]),
        made("of no country", False, [leaf(subject=name(country=None))]),
        made("of no name", False, [leaf(subject=name(common=None))]),
        made("signed by another", False, [leaf()], other),
        made("of something else", False, [leaf()], change=b"something else"),
        made("of another algorithm", False, [leaf()], algorithm=-257),
        made("of an unknown algorithm", False, [leaf()], algorithm=-65535),
        made("no certificate", False, [], statement={"alg": -7, "sig": b"x", "x5c": []}),
        made("no certificates of it", False, [], statement={"alg": -7, "sig": b"x", "x5c": [b"x"]}),
        made("six of them", False, [leaf()] * 6),
        made("self attestation", False, None, None),
        made("none", False, None, fmt="none", statement={}),
    ]


def pkcs8(key):
    encoding, form = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, form, serialization.NoEncryption()).hex()


if __name__ == "__main__":
    device = {"aaguid": AAGUID.hex(), "root": pem(ROOT), "certificate": der(leaf()).hex(), "key": pkcs8(KEY)}
    file = {"now": int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp()), "vectors": vectors(), "device": device}
    pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(file, indent=1) + "\n")
