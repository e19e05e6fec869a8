"""Which configuration file a command reads: the one that is named, else the one that is found."""

import os
from pathlib import Path

from asyncbatch import batch_provider_registry
from asyncbatch.catalog import Catalog, find_config, load_catalog


def config_path(named: str | None) -> Path | None:
    """Give the file: the one on the command line, else `ASYNCBATCH_CONFIG`, else `llm_config.yaml` here, else none."""
    return Path(named) if named is not None else find_config("", os.environ)


def load_config(named: str | None) -> Catalog:
    """Load the facts, with the user's file laid over them. Blocks."""
    return load_catalog(config_path(named))


def with_facts_of(catalog: Catalog, name: str) -> Catalog:
    """Give the catalog with the facts that a provider of another package brings along, if it is such a one. Blocks.

    Raises:
        ConfigError: The package cannot be loaded, its facts are wrong, or what the user's file says about them.
    """
    if name in catalog.names() or not batch_provider_registry.is_registered(name):
        return catalog
    return batch_provider_registry.get(name)(catalog=catalog).catalog
