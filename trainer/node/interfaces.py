"""The network interfaces of this machine or pod."""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCGIFADDR = 0x8915  # netdevice(7)
_NAME_BYTES, _REQUEST_BYTES = 15, 40
_ADDRESS = slice(20, 24)  # of an ifreq that holds a sockaddr_in


def find_interface(address: str) -> str | None:
    """Return the interface that has an IPv4 address as its first, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        for _, name in socket.if_nameindex():
            request = struct.pack(f"{_REQUEST_BYTES}s", name.encode()[:_NAME_BYTES])
            try:
                answer = fcntl.ioctl(asking, _SIOCGIFADDR, request)
            except OSError:  # it has no IPv4 address
                continue
            if socket.inet_ntoa(answer[_ADDRESS]) == address:
                return name
    return None
