"""How many files and connections this process may have open at once: two a pod, and some of its own."""

from __future__ import annotations

import resource

_OWN = 64  # the interpreter's, the terminal's, the looks' and heartbeats' connections


def make_room(pods: int) -> str:
    """Raise the soft limit of open files, as far as the hard one lets us, to what so many pods need.

    Returns:
        A sentence for the user where that is not enough, else nothing.
    """
    needed = 2 * pods + _OWN
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
    return (
        f"open files: expected room for {needed}, two for each of {pods} pods, got a hard limit of {most}; "
        f"raise it with `ulimit -Hn {needed}` as root or choose pods with --node: some are read late"
    )
