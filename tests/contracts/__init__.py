"""Suites that every implementation of a plug runs, in its own test file."""

import pytest

pytest.register_assert_rewrite("contracts.store")
