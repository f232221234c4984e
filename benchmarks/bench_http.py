"""What parsing followed logs costs: ours (`launcher.kube.http`) and h11, same bytes, in processor time.

Each of N streams has an answer in chunks, as an API server sends followed logs: many lines a chunk while a
log is caught up with, a line a chunk while a rank writes. All are fed in turn, 16 KiB at a time, as
connections are read. Nothing but parsing is measured; what of the whole way it is, `bench_logs.py h11` shows.

    bench_http.py [--rounds N]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import h11

from launcher.kube.http import ResponseParser

PIECE = 16 * 1024
LINE = b"2026-11-24T00:00:00.000000000Z [a1 r0] " + b"x" * 70 + b"\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
LOADS = [(64, 6000, 50), (512, 800, 50), (64, 3000, 1), (512, 400, 1)]
"""Streams, lines of each, lines a chunk."""


class H11Parser:
    """h11 with the face of `ResponseParser`, as far as followed logs need it."""

    def __init__(self) -> None:
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=65536)
        self._connection.send(h11.Request(method="GET", target="/", headers=[("Host", "localhost")]))
        self._connection.send(h11.EndOfMessage())
        self.status, self.headers = 0, {}  # type: int, dict[str, str]
        self.is_done = self.can_go_on = False

    def take(self, data: bytes) -> bytes:
        """See `ResponseParser.take`."""
        connection = self._connection
        connection.receive_data(data)
        body = []
        while True:
            event = connection.next_event()
            if type(event) is h11.Data:
                body.append(bytes(event.data))
            elif event is h11.NEED_DATA or event is h11.PAUSED:
                break
            elif type(event) is h11.Response:
                self.status = event.status_code
                self.headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
            elif type(event) is h11.EndOfMessage:
                self.is_done = True
                break
        return b"".join(body)

    def end(self) -> bool:
        """See `ResponseParser.end`."""
        return self.is_done


def parse(make: Callable[[], ResponseParser | H11Parser], answer: bytes, streams: int) -> float:
    """Return seconds of the processor for so many streams of one answer, fed in turn."""
    parsers = [make() for _ in range(streams)]
    pieces = [answer[at : at + PIECE] for at in range(0, len(answer), PIECE)]
    began_s, size = time.process_time(), 0
    for piece in pieces:
        for parser in parsers:
            size += len(parser.take(piece))
    took_s = time.process_time() - began_s
    assert all(parser.is_done for parser in parsers)
    assert size == streams * answer.count(LINE) * len(LINE)
    return took_s


def main() -> None:
    rounds = int(sys.argv[sys.argv.index("--rounds") + 1]) if "--rounds" in sys.argv else 3
    for streams, lines, batch in LOADS:
        chunk = b"%x\r\n%s\r\n" % (batch * len(LINE), batch * LINE)
        answer = HEAD + chunk * (lines // batch) + b"0\r\n\r\n"
        ours, theirs = (
            min(parse(make, answer, streams) for _ in range(rounds)) / (streams * lines) * 1e6
            for make in (ResponseParser, H11Parser)
        )
        print(
            f"{streams} streams, {batch} lines a chunk: ours {ours:.3f} us a line, h11 {theirs:.3f}, "
            f"{theirs / ours:.0f} times",
            flush=True,
        )


if __name__ == "__main__":
    main()
