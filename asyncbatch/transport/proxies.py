"""Which proxy a call goes through: the one that is named, or what the environment says; a password file is never looked into.

aiohttp's own `trust_env` would read `~/.netrc` as well, and send what it finds there to whoever the call goes to.
"""

import base64
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib import request
from urllib.parse import unquote

from yarl import URL

from asyncbatch.exceptions import ConfigError
from asyncbatch.secrecy import Hidden, Secret

SECRET_CHARS = 6
"""What is shorter is no secret, and taking every `1` or `on` out of a message would only garble it."""
_USER = re.compile(r"^(\w+://)?.*@", re.DOTALL)
_SCHEMES = ("http", "https")
_NONE: Final[Mapping[str, str]] = MappingProxyType({})


class Proxies:
    """The proxies of one scope, whose credentials no repr shows."""

    def __init__(self, named: str | None = None, found: Mapping[str, str] = _NONE) -> None:
        self._named = named
        self._found = Hidden(found)

    @classmethod
    def of_environment(cls) -> "Proxies":
        """Read HTTPS_PROXY, HTTP_PROXY and NO_PROXY, however they are written, as the standard library does.

        Raises:
            ConfigError: What they name is no address of a proxy that we can speak to.
        """
        found = Hidden(request.getproxies_environment())
        addresses = Hidden({scheme: _address(found[scheme]) for scheme in _SCHEMES if scheme in found})
        for scheme in addresses:
            if not _is_proxy(addresses[scheme]):
                message = f"{scheme.upper()}_PROXY in the environment is no address of a proxy that speaks HTTP"
                # Not what it says: that may hold a password.
                raise ConfigError(message, code="config.proxy", hint="it is like http://proxy.example:3128")
        return cls(found=Hidden(addresses, no=found.get("no", "")))

    def towards(self, url: URL | None) -> str | None:
        """Give the proxy for an address, or None where the way is direct."""
        if self._named is not None or url is None or url.scheme not in self._found:
            return self._named
        is_direct = request.proxy_bypass_environment(f"{url.host}:{url.port}", self._found)  # type: ignore[attr-defined]
        return None if is_direct else self._found[url.scheme]

    @property
    def secrets(self) -> tuple[str, ...]:
        """What stands before the `@` of each: it must not appear anywhere; longest first."""
        addresses = (self._named, *(self._found.get(scheme) for scheme in _SCHEMES))
        return _longest_first({value for address in addresses for value in secrets_of(address)})


def without_user(address: str) -> str:
    """Give a proxy's address as it may be shown."""
    return _USER.sub(r"\1[secret]@", address)


def secrets_of(address: str | None) -> tuple[str, ...]:
    """Give what stands before a proxy's `@`, as it is written and as it is sent; longest first."""
    both = (address or "").rpartition("@")[0].rpartition("//")[2]
    user, _, password = both.partition(":")
    sent = base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode() if both else ""
    return _longest_first({sent, password, unquote(password), user, unquote(user)})


def _longest_first(values: set[str]) -> tuple[str, ...]:
    return tuple(sorted((Secret(value) for value in values if len(value) >= SECRET_CHARS), key=len, reverse=True))


def _address(text: str) -> str:
    return text if "://" in text else f"http://{text}"  # as curl and the standard library take it


def _is_proxy(address: str) -> bool:
    try:
        url = URL(address)
        return url.scheme in _SCHEMES and bool(url.host) and url.port is not None
    except ValueError:
        return False
