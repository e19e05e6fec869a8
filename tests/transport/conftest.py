"""A certificate that nobody vouches for, for 127.0.0.1 alone."""

import ssl
from pathlib import Path
from typing import NamedTuple

import pytest

PEM = Path(__file__).with_name("loopback.pem")


class SelfSigned(NamedTuple):
    server: ssl.SSLContext
    ca_file: str


@pytest.fixture
def self_signed():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)
    return SelfSigned(context, str(PEM))
