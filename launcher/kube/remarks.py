"""What a person should know of a cluster and our way to it, and that no result carries. Each is said once.

Such as a field of the kubeconfig without effect, or a `Warning` of the API server. Whoever runs this as a
program sets who says it (`tell_to`); else it goes to the log `launcher.kube`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable


def _log(text: str) -> None:
    import logging

    logging.getLogger("launcher.kube").warning("%s", text)


_lock = threading.Lock()
_said: set[str] = set()
_tell: Callable[[str], None] = _log
_MOST = 100
"""More than so many a process nobody reads; a server could send others for ever."""


def tell_to(tell: Callable[[str], None] | None) -> None:
    """Have remarks said by `tell` from now on, those again that were said before; None for the log."""
    global _tell  # noqa: PLW0603  # one program, one terminal
    with _lock:
        _tell = tell or _log
        _said.clear()


def remark(text: str) -> None:
    """Say something, unless it was said before."""
    with _lock:
        if text in _said or len(_said) >= _MOST:
            return
        _said.add(text)
        _tell(text)
