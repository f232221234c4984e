"""What refused data is reported by. Imports no numpy: commands that only write lists do without it."""

from __future__ import annotations

from collections.abc import Iterable

MAX_PROBLEMS_SHOWN = 20


class DataError(Exception):
    """Data was refused. `problems` holds all of them; the message shows the first 20."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        lines = list(self.problems[:MAX_PROBLEMS_SHOWN])
        if len(self.problems) > MAX_PROBLEMS_SHOWN:
            lines.append(f"and {len(self.problems) - MAX_PROBLEMS_SHOWN} more problems")
        super().__init__("\n".join(lines))
