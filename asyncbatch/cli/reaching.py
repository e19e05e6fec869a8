"""One harmless question before a large upload: is anybody there, and does the key open?"""

from collections.abc import Mapping
from typing import Any

from asyncbatch import ProviderPermanentError, ProviderTransientError, Retry, batch_provider_registry
from asyncbatch.catalog import Catalog


async def check_reachable(catalog: Catalog, name: str, config: Mapping[str, Any]) -> bool:
    """Ask the provider one harmless question, so that a wrong address or key is found before a large upload.

    Gives whether it knew the question.

    Raises:
        ProviderTransientError: Nobody answers there.
        ProviderPermanentError: The key is refused.
        ConfigError: There is no key.
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
            return error.status != 404
    return True
