"""What Paddle says that is no business of whoever trains. Imports no paddle: it is silenced before that."""

from __future__ import annotations

import warnings

_NOISE = (
    "No ccache found",  # of Paddle's tools for building extensions, on import
    ".*do not have 'place' interface",
    "When training, we now always track global mean",
)


def silence() -> None:
    """Ignore these warnings from now on, or until the filters that stand now are put back."""
    for noise in _NOISE:
        warnings.filterwarnings("ignore", message=noise)
