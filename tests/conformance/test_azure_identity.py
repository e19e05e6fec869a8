"""The credentials of azure-identity are what a `credential` is taken to be."""

import inspect
import time

import pytest
from azure.core import credentials as core
from azure.identity import aio as identity

from asyncbatch import ProviderTransientError, load_catalog
from asyncbatch.catalog import Credentials
from tests.providers.world import statuses, world

pytestmark = pytest.mark.conformance

FACTS: Credentials = load_catalog().provider("azure").credentials


def test_the_class_that_looks_for_itself_is_there_and_is_entered_and_asked_as_here():
    module, _, name = FACTS.token_class.partition(":")
    kind = getattr(identity, name)

    assert module == identity.__name__
    assert {"__aenter__", "__aexit__", "get_token"} <= set(dir(kind))
    assert inspect.iscoroutinefunction(kind.get_token)


async def test_its_access_tokens_are_read():
    class Own:
        async def get_token(self, *scopes, **_):
            return core.AccessToken("-".join(scopes), int(time.time()) + 3600)

    async with world("azure") as here:
        entra = here._replace(provider=here.scope.create("azure", {"credential": Own(), "base_url": here.base_url}))
        _, rows = await entra.run(["a"])

    assert statuses(rows) == {"0000000": "succeeded"}


async def test_a_credential_that_finds_nothing_says_so_and_nothing_is_sent(monkeypatch):
    monkeypatch.setenv("PATH", "")
    async with world("azure") as here, identity.AzureCliCredential() as credential:
        provider = here.scope.create("azure", {"credential": credential, "base_url": here.base_url})
        with pytest.raises(ProviderTransientError, match="no token could be had: CredentialUnavailableError"):
            await provider.poll_status("batch_1")

    assert here.calls("poll") == []
