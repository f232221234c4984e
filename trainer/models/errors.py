"""What weights are refused by. Imports no paddle: commands that only look for files do without it."""

from __future__ import annotations


class WeightsError(Exception):
    """A file of weights cannot be used."""
