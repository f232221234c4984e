"""Did you mean."""

from __future__ import annotations

from collections.abc import Iterable


def suggest(word: object, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known word, or an empty string."""
    near = get_near(word, known)
    return f"; did you mean {near!r}?" if near is not None else ""


def get_near(word: object, known: Iterable[str]) -> str | None:
    """Return the known word that is spelled most like another, or None where none is near."""
    import difflib  # here: most configs have no such mistake

    by_lower = {name.lower(): name for name in known if name != word}
    matches = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[matches[0]] if matches else None
