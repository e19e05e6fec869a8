"""The contract is a plain module, so that no list names its users; its assertions are explained all the same."""

import pytest

pytest.register_assert_rewrite("tests.providers.contract")
