"""One harmless question before a large upload: is anybody there, and does the key open?"""

from collections.abc import Mapping
from typing import Any

from asyncbatch import (
    BaseBatchProvider,
    ProviderPermanentError,
    ProviderTransientError,
    Retry,
    batch_provider_registry,
)
from asyncbatch.catalog import Catalog
from asyncbatch.cli.endings import CommandError
from asyncbatch.enums import InputMode


async def check_reachable(catalog: Catalog, name: str, config: Mapping[str, Any]) -> bool:
    """Ask the provider one harmless question, so that a wrong address or key is found before a large upload.

    Gives whether it knew the question.

    Raises:
        ProviderTransientError: Nobody answers there.
        ProviderPermanentError: The key is refused.
        ConfigError: There is no key.
        CommandError: Whatever is there has no batches.
    """
    async with batch_provider_registry.open(catalog=catalog, retry=Retry(attempts=2)) as scope:
        provider = scope.create(name, config)
        try:
            await provider.list_statuses(limit=1)
        except ProviderTransientError as error:
            if error.status is None:
                raise
        except ProviderPermanentError as error:
            if (
                error.is_auth and error.status != 403
            ):  # a key may well be allowed to create batches and not to list them
                raise
            if error.status != 404:
                return True
            if provider.has_facts and provider.facts.inputs[0] is InputMode.FILE and not await _has_files(provider):
                message = (
                    f"there are no batches at {provider.account.origin.base_url}: neither their list nor that of files"
                )
                hint = f"does the base URL end in /v1? `asyncbatch doctor -m {name}` looks closer; nothing was sent"
                raise CommandError(message, code="address.no_batches", hint=hint) from error
            return False
    return True


async def _has_files(provider: BaseBatchProvider) -> bool:
    try:
        await provider.list_files(limit=1)
    except ProviderTransientError:
        return True
    except ProviderPermanentError as error:
        return error.status != 404
    return True
