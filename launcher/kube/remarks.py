"""What is said of a cluster and our way to it, and that no result carries: remarks, and the log.

Remarks are for everybody, such as a field of the kubeconfig without effect, or a `Warning` of the API server;
each is said once. Whoever runs this as a program sets who says them (`tell_to`); else they go to the log.

The log `ftlaunch.kube` is for who looks for a fault: every request with its status and time (debug), and
what is asked for again or renewed (info). It holds no headers, no bodies and of a query only what cannot be
secret: a program's arguments, which `exec` sends in its query, may be.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

log = logging.getLogger("ftlaunch.kube")
_IN_THE_LOG = (
    "watch", "follow", "previous", "container", "labelSelector", "fieldSelector", "sinceTime", "tailLines",
    "limit", "resourceVersion", "timeoutSeconds", "dryRun",
)  # fmt: skip


def _log(text: str) -> None:
    log.warning("%s", text)


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


def log_answer(
    method: str, path: str, query: Mapping[str, str], *, status: int | str, began_s: float
) -> None:
    """Write a request and what came of it into the log.

    Args:
        method: Such as GET.
        path: Of the request.
        query: Of which only what cannot be secret is written.
        status: Of the answer, or the kind of error that came in its place.
        began_s: When it was sent, by `time.monotonic`.
    """
    if log.isEnabledFor(logging.DEBUG):
        shown = "&".join(f"{key}={query[key]}" for key in _IN_THE_LOG if key in query)
        took_ms = (time.monotonic() - began_s) * 1000
        log.debug("%s %s%s: %s in %.0f ms", method, path, shown and f"?{shown}", status, took_ms)
