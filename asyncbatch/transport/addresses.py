"""Which addresses are whose: this machine's own, the whole Internet's, and those of the network that we stand in."""

import ipaddress
import socket

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult


def is_public(host: str) -> bool:
    """Whether an address is one of the whole Internet's; a name may be, until it is looked up."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        is_number = host.replace(".", "").isdecimal()  # 127.1 is connected to without being looked up
        return not is_number and host != "localhost" and not host.endswith(".localhost")
    return address.is_global and not address.is_multicast


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, and what is sent to it crosses no wire."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # a name
        return host == "localhost" or host.endswith(".localhost")


class PrivateAddressError(OSError):
    """A name leads to an address that is not public; the text is ours, and may be shown."""


class PublicResolver(AbstractResolver):
    """Looks names up, and gives none whose addresses are not all public: nobody reaches inside by a name of his own."""

    def __init__(self) -> None:
        self._resolver = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(item["host"]) for item in found):
            raise PrivateAddressError(f"{host} is not a public address")
        return found

    async def close(self) -> None:
        await self._resolver.close()
