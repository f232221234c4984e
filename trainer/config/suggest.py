"""Did you mean."""

from __future__ import annotations

from collections.abc import Iterable


def suggest(word: object, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, or an empty string."""
    import difflib  # here: most configs have no such mistake

    by_lower = {name.lower(): name for name in known if name != word}
    matches = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return f"; did you mean {by_lower[matches[0]]!r}?" if matches else ""
