"""Whom we believe at the other end: certificates are always verified, and all that can be said is whose are trusted."""

import os
import ssl
from typing import Final

from asyncbatch.exceptions import ConfigError

_VARIABLES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_HINT: Final = "make it with ssl.create_default_context(), and name an authority of your own with load_verify_locations"


def check_verifying(context: ssl.SSLContext) -> None:
    """Refuse a context that would believe anybody.

    Raises:
        ConfigError: It verifies no certificate, or not for which host that is, or is a server's.
    """
    if context.protocol is ssl.PROTOCOL_TLS_SERVER:
        raise ConfigError("ssl_context is a server's", code="config.tls", hint=_HINT)
    if context.verify_mode is not ssl.CERT_REQUIRED:
        message = f"ssl_context has the verify_mode {context.verify_mode.name}: it would take any certificate"
        raise ConfigError(message, code="config.tls", hint=_HINT)
    if not context.check_hostname:
        message = "ssl_context has check_hostname off: it would take the certificate of any other host"
        raise ConfigError(message, code="config.tls", hint=_HINT)


def named_context(ca_file: str | None, context: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """Give the context that was asked for; None where nothing was.

    Raises:
        ConfigError: The file cannot be used, or the context believes anybody: it may have changed since it was named.
    """
    if context is not None:
        check_verifying(context)
        return context
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the certificate file {ca_file} cannot be used: {error}", code="config.tls") from error


def environments_context() -> ssl.SSLContext | bool:
    """Give a context that trusts whom SSL_CERT_FILE and SSL_CERT_DIR name, or whom the system does.

    aiohttp's own is as old as its import, and these may have been set since.
    """
    return ssl.create_default_context() if any(os.environ.get(name) for name in _VARIABLES) else True
