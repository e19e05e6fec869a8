"""Which configuration file a command reads: the one that is named, else the one that is found."""

import os
from pathlib import Path

from asyncbatch.catalog import Catalog, find_config, load_catalog


def config_path(named: str | None) -> Path | None:
    """Give the file: the one on the command line, else `ASYNCBATCH_CONFIG`, else `llm_config.yaml` here, else none."""
    return Path(named) if named is not None else find_config("", os.environ)


def load_config(named: str | None) -> Catalog:
    """Load the facts, with the user's file laid over them. Blocks."""
    return load_catalog(config_path(named))
