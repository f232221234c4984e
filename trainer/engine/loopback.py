"""Keeps a socket that listens on all interfaces to whoever is on this machine.

The ranks of a job with `--on local` meet at Paddle's store, which rank 0 opens on all interfaces; Paddle
3.3.1 has no setting for it (paddle/phi/core/distributed/store/tcp_store.cc: MasterDaemon listens on an empty
host), and the store believes whatever it is sent. Linux lets a program hang a filter on a socket of its own
(socket(7), SO_ATTACH_FILTER), without rights: packets whose source is not 127.0.0.0/8 are dropped before the
socket sees them, so that a connection from elsewhere gets no answer, as behind a firewall. The address that
tools show stays 0.0.0.0.

The filter is four instructions of classic BPF (bpf(4), linux/filter.h):

    ld  [network header + 12]       the source address
    and #0xff000000
    jeq #0x7f000000, accept, drop
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import stat
import struct
import threading
import time
from pathlib import Path

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
_NETWORK_HEADER = 0xFFF00000  # SKF_NET_OFF, linux/filter.h
_PROGRAM = (
    (0x20, 0, 0, _NETWORK_HEADER + 12),  # BPF_LD | BPF_W | BPF_ABS
    (0x54, 0, 0, 0xFF000000),  # BPF_ALU | BPF_AND | BPF_K
    (0x15, 0, 1, 0x7F000000),  # BPF_JMP | BPF_JEQ | BPF_K
    (0x06, 0, 0, 0xFFFFFFFF),  # BPF_RET: the whole packet
    (0x06, 0, 0, 0),  # BPF_RET: nothing of it
)
_LOOK_EVERY_S, _LOOK_FOR_S = 0.01, 120.0


def keep_to_this_machine(listening: socket.socket) -> None:
    """Have a socket drop what does not come from 127.0.0.0/8.

    Raises:
        OSError: The system has no such filters.
    """
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _PROGRAM)
    kept = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HP", len(_PROGRAM), ctypes.addressof(kept))
    listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


def find_listening(port: int) -> socket.socket | None:
    """Return a duplicate of this process's socket that listens at a port on all interfaces, or None."""
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            if not stat.S_ISSOCK(os.fstat(int(path.name)).st_mode):
                continue
            found = socket.socket(fileno=os.dup(int(path.name)))
            is_it = (
                found.family == socket.AF_INET
                and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
                and found.getsockname() == ("0.0.0.0", port)  # noqa: S104 - looked for, not bound
            )
            if is_it:
                return found
            found.close()
    return None


def guard(master: str) -> threading.Thread | None:
    """Watch for the store of a job on this machine while it opens, and keep it to this machine.

    The store waits for all ranks before it returns, so that it is looked for beside that.

    Args:
        master: `host:port` of the store. Of another host's nothing is done.

    Returns:
        The thread that looks, or None.
    """
    host, _, port = master.rpartition(":")
    if not host.startswith("127.") or not port.isdigit():
        return None
    thread = threading.Thread(target=_look, args=(int(port),), daemon=True)
    thread.start()
    return thread


def _look(port: int) -> None:
    until_s = time.monotonic() + _LOOK_FOR_S
    while time.monotonic() < until_s:
        found = find_listening(port)
        if found is not None:
            with found, contextlib.suppress(OSError):  # no such filters here: it stays as Paddle opened it
                keep_to_this_machine(found)
            return
        time.sleep(_LOOK_EVERY_S)
