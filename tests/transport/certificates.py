"""Certificate authorities that live for one test: whatever is wrong with a certificate, one of theirs has it."""

import datetime as dt
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


class Authority:
    """Signs certificates; who trusts `file` trusts them."""

    def __init__(self, directory: Path, name: str = "an authority of a test") -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        signed = _certificate(self._name, self._key, self._name, self._key, days=(-1, 1), is_authority=True)
        self._pem = signed.public_bytes(serialization.Encoding.PEM)
        self.file = directory / f"{name}.pem"
        self.file.write_bytes(self._pem)

    def certificate(self, *hosts: str, days: tuple[int, int] = (-1, 1), is_self_signed: bool = False) -> Path:
        """Give a file with a certificate for these hosts, valid between these days from today, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(f"for {', '.join(hosts)}")
        issuer, signer = (subject, key) if is_self_signed else (self._name, self._key)
        signed = _certificate(subject, key, issuer, signer, hosts=hosts, days=days)
        path = self._directory / f"{x509.random_serial_number()}.pem"
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        path.write_bytes(
            signed.public_bytes(encoding) + key.private_bytes(encoding, form, serialization.NoEncryption())
        )
        return path

    def server(self, *hosts: str, **how: object) -> ssl.SSLContext:
        """Give what a server for these hosts speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate(*hosts, **how))  # type: ignore[arg-type] # as they are written there
        return context

    def hashed_name(self) -> str:
        """Give the name under which OpenSSL looks for this authority in a directory: X509_NAME_hash of its subject."""
        # Of its canonical form: each value in small letters and as UTF-8, without the outer SEQUENCE.
        oid = bytes.fromhex("0603550403")
        value = self._name.rfc4514_string().removeprefix("CN=").lower().encode()
        text = b"\x0c" + bytes([len(value)]) + value
        pair = b"\x30" + bytes([len(oid + text)]) + oid + text
        digest = hashes.Hash(hashes.SHA1())  # what OpenSSL names files by
        digest.update(b"\x31" + bytes([len(pair)]) + pair)
        return f"{int.from_bytes(digest.finalize()[:4], 'little'):08x}"

    def client(self) -> ssl.SSLContext:
        """Give a context that trusts this authority alone."""
        return ssl.create_default_context(cafile=str(self.file))


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    key: EllipticCurvePrivateKey,
    issuer: x509.Name,
    signer: EllipticCurvePrivateKey,
    *,
    days: tuple[int, int],
    hosts: tuple[str, ...] = (),
    is_authority: bool = False,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    purposes = dict.fromkeys(
        ["content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"], False
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True,
                key_cert_sign=is_authority,
                crl_sign=is_authority,
                decipher_only=False,
                **purposes,
            ),
            critical=True,
        )
        # Python 3.13 asks for both: ssl.VERIFY_X509_STRICT.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if hosts:
        names = x509.SubjectAlternativeName([_general(host) for host in hosts])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
