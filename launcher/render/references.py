"""`$(NAME)` in commands and variables, which Kubernetes replaces, and how text passes unchanged.

Kubernetes reads `$$` as one `$` and `$(NAME)` as the variable where there is one (third_party/forked/golang/
expansion/expand.go).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(?:\$|\(([^)]*)\))")


def escape_references(text: str) -> str:
    """Return what Kubernetes turns back into `text`."""
    return text.replace("$", "$$") if "$(" in text or "$$" in text else text


def expand_references(text: str, variables: Mapping[str, str]) -> str:
    """Return what a container gets for `text`, as Kubernetes does; an unknown reference stays as it is."""

    def put(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else variables.get(name, match[0])

    return _REFERENCE.sub(put, text)
