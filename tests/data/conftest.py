"""Every test prepares its sets in a cache of its own."""

import pytest


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("JAXSAL_CACHE", str(tmp_path_factory.mktemp("cache")))
