"""Where what takes minutes to make is kept between runs."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder; `FTLAUNCH_E2E_CACHE` names another."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("FTLAUNCH_E2E_CACHE") or f"{base}/ftlaunch-e2e")
