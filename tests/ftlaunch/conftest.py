from __future__ import annotations

import pytest

from tests.launcher.conftest import cluster, store, write_config  # noqa: F401 - fixtures


@pytest.fixture(autouse=True)
def own_runs(store):  # noqa: F811
    """Run folders of each test's own."""
