"""Protocol families: what a dialect needs beside its YAML. A dialect names its family; nothing lists them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module

from aiohttp import web

from asyncbatch.emulator.desk import Desk
from asyncbatch.emulator.store import Examined, StoredBatch, Written


class Family(ABC):
    """One protocol on one desk: its paths, its shapes, and the real work behind a batch.

    A module below `families` calls its subclass `Protocol`.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk

    @abstractmethod
    def routes(self) -> Sequence[web.RouteDef]:
        """Give the paths below the dialect's base URL."""

    @abstractmethod
    def read_key(self, request: web.Request) -> str | None:
        """Give the key that the request carries; None if it has none or a bad one."""

    @abstractmethod
    def encode_error(self, status: int, message: str, *, code: str | None = None, param: str | None = None) -> bytes:
        """Give the body of an error answer."""

    @abstractmethod
    def examine(self, batch: StoredBatch) -> Examined:
        """Validate the batch's input. Runs in a thread, and checks the store now and then."""

    @abstractmethod
    def write(self, batch: StoredBatch, rows_done: int) -> Written:
        """Write the results of the first `rows_done` rows, and what became of the others. Runs in a thread."""


def open_family(name: str, desk: Desk) -> Family:
    """Make the family of this name, for this desk."""
    family: Family = import_module(f"asyncbatch.emulator.families.{name}").Protocol(desk)
    return family
