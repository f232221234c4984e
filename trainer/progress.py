"""How far the work of this process has come, for whoever shows it."""

from __future__ import annotations


class Progress:
    """Is told what is being done. This one shows nothing: logs, pipes and other ranks have no bar."""

    def begin(self, label: str, total: int) -> None:
        """Take up something of so many parts; what was begun before has ended."""

    def advance(self, count: int = 1) -> None:
        """Note that so many more parts are done."""

    def clear(self) -> None:
        """Step aside, because a line is about to be written."""


NO_PROGRESS = Progress()
