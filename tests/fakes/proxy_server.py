"""A proxy as a process of its own: `python -m tests.fakes.proxy_server KIND FOLDER [USER:PASSWORD]`.

KIND is http, https (TLS to the proxy, with FOLDER/proxy.pem) or socks5. It writes its port to FOLDER/port,
a line for each request to FOLDER/asked (CONNECT host:port, or the method and URL of a request that it answers
itself), and to FOLDER/carried how many bytes servers have sent through it. Names below `.internal` lead to
this machine, so that only who asks the proxy for them finds them. Ends with its parent.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import ssl
import struct
import sys
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit


def resolve(host: str) -> str:
    return "127.0.0.1" if host.endswith(".internal") else host


class Proxy:
    def __init__(self, kind: str, folder: Path, credentials: str) -> None:
        self.kind, self.folder, self.credentials = kind, folder, credentials
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.carried, self.lock = 0, threading.Lock()
        self.context = None
        if kind == "https":
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(folder / "proxy.pem")

    def note(self, line: str) -> None:
        with (self.folder / "asked").open("a") as file:
            file.write(f"{line}\n")

    def serve(self) -> None:
        (self.folder / "port.tmp").write_text(str(self.listening.getsockname()[1]))
        (self.folder / "port.tmp").rename(self.folder / "port")
        while True:
            connection, _ = self.listening.accept()
            threading.Thread(target=self.take, args=(connection,), daemon=True).start()

    def take(self, connection: socket.socket) -> None:
        try:
            if self.context is not None:
                connection = self.context.wrap_socket(connection, server_side=True)
            (self.take_socks if self.kind == "socks5" else self.take_http)(connection)
        except OSError as error:
            self.note(f"error {error}")
        finally:
            connection.close()

    def take_http(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        lines = head.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        method, target, _ = lines[0].split(" ")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        wanted = f"Basic {base64.b64encode(self.credentials.encode()).decode()}"
        if self.credentials and fields.get("Proxy-Authorization") != wanted:
            self.note(f"407 {target}")
            connection.sendall(b"HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
            return
        self.note(f"{method} {target}")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            with socket.create_connection((resolve(host), int(port))) as server:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                self.carry(connection, server)
        else:
            url = urlsplit(target)
            with socket.create_connection((resolve(url.hostname or ""), url.port or 80)) as server:
                server.sendall(head.replace(target.encode(), f"{url.path}?{url.query}".encode(), 1))
                self.carry(connection, server)

    def take_socks(self, connection: socket.socket) -> None:
        """RFC 1928 and 1929."""
        count = connection.recv(2)[1]
        offered = connection.recv(count)
        if self.credentials:
            assert 2 in offered
            connection.sendall(b"\x05\x02")
            _, size = connection.recv(2)
            user = connection.recv(size).decode()
            password = connection.recv(connection.recv(1)[0]).decode()
            is_right = f"{user}:{password}" == self.credentials
            connection.sendall(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                self.note("refused")
                return
        else:
            connection.sendall(b"\x05\x00")
        kind = connection.recv(4)[3]
        host = connection.recv(connection.recv(1)[0]).decode() if kind == 3 else "an address"
        (port,) = struct.unpack("!H", connection.recv(2))
        self.note(f"CONNECT {host}:{port}")
        with socket.create_connection((resolve(host), port)) as server:
            connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
            self.carry(connection, server)

    def count(self, size: int) -> None:
        with self.lock:
            self.carried += size
            (self.folder / "carried.tmp").write_text(str(self.carried))
            (self.folder / "carried.tmp").rename(self.folder / "carried")

    def carry(self, left: socket.socket, right: socket.socket) -> None:
        while True:
            ready = select.select([left, right], [], [])[0]
            if isinstance(left, ssl.SSLSocket) and left.pending():
                ready = [left]
            for source in ready:
                data = source.recv(65536)
                if not data:
                    return
                (right if source is left else left).sendall(data)
                if source is right:
                    self.count(len(data))


def end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    Proxy(sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "").serve()
