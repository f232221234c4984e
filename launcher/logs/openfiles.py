"""How many files and connections this process may have open at once: two a pod, and some of its own."""

from __future__ import annotations

import resource

_OF_A_POD = 2
_ANY = 1 << 20
_OWN = 64  # the interpreter's, the terminal's, the looks' and heartbeats' connections


def most_at_once() -> int:
    """Return how many pods can be read at once, the soft limit raised to the hard one; at least one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ANY if hard == resource.RLIM_INFINITY else max(1, (hard - _OWN) // _OF_A_POD)


def make_room(pods: int) -> str:
    """Raise the soft limit of open files, as far as the hard one lets us, to what so many pods need.

    Returns:
        A sentence for the user where that is not enough, else nothing.
    """
    needed = _OF_A_POD * pods + _OWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return ""
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (ValueError, OSError):  # a sandbox may refuse even that
        most = soft
    if most >= needed:
        return ""
    seats = max(1, (most - _OWN) // _OF_A_POD)
    return (
        f"open files: expected room for {needed}, two for each of {pods} pods, got a hard limit of {most}; "
        f"{seats} pods are read at once and each other one when one of these has been read to its end; "
        f"raise it with `ulimit -Hn {needed}` as root or choose pods with --node"
    )
