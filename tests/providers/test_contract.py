"""The contract, for every provider that is found by name."""

from tests.providers.contract import *  # noqa: F403 the suite is the module
