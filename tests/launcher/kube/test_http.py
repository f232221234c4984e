"""The parser of HTTP against RFC 9112, and what a request may hold."""

from __future__ import annotations

import random

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.kube.http import Headers, ResponseParser, format_request

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def parse(data: bytes, *cuts: int) -> tuple[int, bytes, bool]:
    """Return status, body, and whether the answer is whole, of an answer that comes in pieces."""
    parser, body, at = ResponseParser(), b"", 0
    for cut in (*sorted(cuts), len(data)):
        body += parser.take(data[at:cut])
        at = cut
    return parser.status, body, parser.end()


@pytest.mark.parametrize(("data", "expected"), [
    (OK + b"Content-Length: 5\r\n\r\nhello", (200, b"hello", True)),
    (OK + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", (200, b"hello", True)),
    (OK + b"Content-Length: 5\r\n\r\nhell", (200, b"hell", False)),
    (OK + b"Content-Length: 0\r\n\r\n", (200, b"", True)),
    (OK + b"\r\nuntil the end", (200, b"until the end", True)),
    (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", (200, b"hello", True)),
    (CHUNKED + b"5;a=b\r\nhello\r\n00a\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n",
     (200, b"hello0123456789", True)),
    (CHUNKED + b"5\r\nhello\r\n", (200, b"hello", False)),
    (b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", (204, b"", True)),
    (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", (304, b"", True)),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + OK + b"Content-Length: 2\r\n\r\n{}", (200, b"{}", True)),
    (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + CHUNKED + b"0\r\n\r\n", (200, b"", True)),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", (200, b"x", True)),
    (b"HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx", (200, b"x", True)),
    (b"HTTP/1.1 200 OK\r\nX: a\tb \xe9 \r\nContent-Length:1\r\n\r\nx", (200, b"x", True)),
    (OK[:-4], (0, b"", False)),
])  # fmt: skip
def test_an_answer_is_read_wherever_it_is_cut(data, expected):
    assert parse(data) == expected
    assert parse(data, *range(len(data))) == expected
    for cut in range(len(data)):
        assert parse(data, cut) == expected


@pytest.mark.parametrize("data", [
    *(CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n" for size in (
        b"-5", b"+5", b"0x5", b"5_0", b" 5", b"5 ", b"\t5", b"", b"g", b"5\n", b"5\r", b"F" * 17, b"5 x",
        "５".encode(),
    )),
    CHUNKED + b"5\r\nhelloxx0\r\n\r\n", CHUNKED + b"5\r\nhello\n\r0\r\n\r\n",
    CHUNKED + b"5\nhello\n0\n\n" + b"\r\n",
    *(OK + b"Content-Length: " + length + b"\r\n\r\nhello" for length in (
        b"-5", b"+5", b"0x5", b"5_0", b"5 5", b"5, 5", b"", b"5a", "５".encode(), b"9" * 5000, b"1e3",
    )),
    OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    *(OK + b"Transfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n" for coding in (
        b"gzip, chunked", b"chunked, gzip", b"xchunked", b"identity",
        b"chunked\r\nTransfer-Encoding: chunked",
    )),
    *(first + b"\r\nContent-Length: 0\r\n\r\n" for first in (
        b"HTTP/1.1 20 OK", b"HTTP/1.1 2000 OK", b"HTTP/1.1 000 OK", b"HTTP/1.1 -12 OK", b"HTTP/1.1 2e2 OK",
        b"HTTP/1.1  200 OK", b"HTTP/2 200 OK", b"HTTP/1.x 200 OK", b"http/1.1 200 OK", b"HTTP/1.1 200\tOK",
        b"HTTP/1.1 700 OK", b"SSH-2.0-OpenSSH", b"\x16\x03\x01", b"HTTP/1.1 200 O\x00K", b" HTTP/1.1 200 OK",
    )),
    *(OK + field + b"\r\nContent-Length: 0\r\n\r\n" for field in (
        b"X : y", b" folded", b"no colon", b": x", b"a\x00: x", b"X: a\x00", b"X: a\nY: b", b"X: a\rY: b",
        b"\xe9: x",
    )),
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    OK + b"X: y\r\n" * 1000 + b"\r\n", OK + b"X: " + b"y" * 70000 + b"\r\n\r\n", OK + b"X: " + b"y" * 70000,
    CHUNKED + b"0" * 5000, CHUNKED + b"5;" + b"x" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
])  # fmt: skip
def test_what_a_strict_reader_refuses_is_refused_wherever_it_is_cut(data):
    with pytest.raises(ValueError, match=r".+"):
        parse(data)
    draw = random.Random(1)
    for _ in range(10):
        with pytest.raises(ValueError, match=r".+"):
            parse(data, *(draw.randrange(len(data)) for _ in range(5)))


@pytest.mark.parametrize(("data", "goes_on"), [
    (OK + b"Content-Length: 1\r\n\r\nx", True),
    (CHUNKED + b"1\r\nx\r\n0\r\n\r\n", True),
    (b"HTTP/1.1 204 No\r\n\r\n", True),
    (OK + b"Content-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n", False),
    (CHUNKED + b"1\r\nx\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", False),
    (CHUNKED + b"1\r\nx\r\n0\r\nTrailer: x\r\n\r\n", False),
    (OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nx", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", False),
    (OK + b"\r\nx", False),
])  # fmt: skip
def test_a_connection_is_used_again_only_where_nothing_is_left_of_the_answer(data, goes_on):
    parser = ResponseParser()
    parser.take(data)
    parser.end()
    assert parser.can_go_on is goes_on


def test_bodies_of_any_bytes_come_through_chunks_of_any_size():
    draw = random.Random(7)
    for _ in range(300):
        pieces = [draw.randbytes(draw.choice([1, 2, 13, 500, 70000])) for _ in range(draw.randrange(6))]
        data = CHUNKED + b"".join(b"%X\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        cuts = [draw.randrange(len(data)) for _ in range(draw.choice([0, 1, 5, 40]))]
        assert parse(data, *cuts) == (200, b"".join(pieces), True)


def test_headers_are_found_in_any_case_of_letters():
    headers = Headers([("Warning", "one"), ("warning", "two"), ("X-A", "b")])
    assert headers["WARNING"] == "one, two"
    assert headers.every("Warning") == ("one", "two")
    assert headers.get("missing") is None
    assert (sorted(headers), len(headers)) == (["warning", "x-a"], 2)


@pytest.mark.parametrize(("method", "target", "headers"), [
    ("GET", "/a b", ()), ("GET", "/a\r\nX: y", ()), ("GET", "/\x00", ()), ("GET", "/é", ()),
    ("GE T", "/", ()),
    ("GET", "/", (("X", "a\r\nY: b"),)), ("GET", "/", (("X", "a\nb"),)), ("GET", "/", (("X", "a\rb"),)),
    ("GET", "/", (("X", "a\x00"),)), ("GET", "/", (("X: y\r\nZ", "a"),)), ("GET", "/", (("", "a"),)),
    ("GET", "/", (("X", "\x7f"),)), ("GET", "", ()),
])  # fmt: skip
def test_a_request_cannot_be_made_to_hold_another(method, target, headers):
    with pytest.raises(ValueError, match="control character"):
        format_request(method, target, headers=headers)


def test_a_refused_value_is_not_shown():
    with pytest.raises(ValueError, match="'Authorization'") as refused:
        format_request("GET", "/", headers=(("Authorization", "Bearer s3cret\n"),))
    assert "s3cret" not in str(refused.value)


def test_a_request_is_written_as_it_was_asked_for():
    fields = (("Host", "k:1"), ("Impersonate-Group", "a"), ("Impersonate-Group", "b"))
    head = b"Host: k:1\r\nImpersonate-Group: a\r\nImpersonate-Group: b\r\n"
    asked = format_request("GET", "/x?y=%2F", headers=fields)
    assert asked == b"GET /x?y=%2F HTTP/1.1\r\n" + head + b"\r\n"
    posted = format_request("POST", "/", headers=fields, body=b"{}")
    assert posted == b"POST / HTTP/1.1\r\n" + head + b"Content-Length: 2\r\n\r\n{}"


def outcome(data: bytes, cuts: list[int]) -> object:
    """Return what `parse` does, or that it refuses."""
    try:
        return parse(data, *(cut % (len(data) + 1) for cut in cuts))
    except ValueError:
        return "refused"


HEADS = st.sampled_from([
    b"HTTP/1.1 200 OK", b"HTTP/1.0 404 Not Found", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", b"HTTP/1.1 500", b"HTTP/1.1 101 Switching",
    b"HTTP/2 200 OK",
])  # fmt: skip
FIELDS = st.lists(st.sampled_from([
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: CHUNKED", b"Transfer-Encoding: gzip, chunked",
    b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: -5", b"Content-Length: +5",
    b"Content-Length: 0x5", b"Content-Length: 7", b"X: y", b"X : y", b" folded",
]), max_size=3)  # fmt: skip
CHUNKS = st.lists(st.tuples(
    st.sampled_from([b"5", b"05", b"a", b"5;x=y", b"-5", b"+5", b"0x5", b" 5", b"5 ", b"", b"F" * 17]),
    st.binary(max_size=12), st.sampled_from([b"\r\n", b"\r\n", b"\n", b""]),
), max_size=3)  # fmt: skip
ENDS = st.sampled_from([b"", b"0\r\n\r\n", b"0\r\n", b"0\r\nTrailer: x\r\n\r\n"])


@given(head=HEADS, fields=FIELDS, chunks=CHUNKS, end=ENDS, cuts=st.lists(st.integers(0, 400), max_size=8))
def test_no_answer_whatever_it_is_depends_on_where_it_is_cut(head, fields, chunks, end, cuts):
    body = b"".join(size + b"\r\n" + piece + mark for size, piece, mark in chunks) + end
    data = b"\r\n".join([head, *fields, b"", body])
    assert outcome(data, cuts) == outcome(data, []) == outcome(data, list(range(len(data))))


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=3000), max_size=6), is_chunked=st.booleans(),
    status=st.sampled_from([200, 201, 404, 500]), cuts=st.lists(st.integers(0, 30000), max_size=8),
)  # fmt: skip
def test_what_another_library_writes_is_read_as_it_was_meant(pieces, is_chunked, status, cuts):
    size = str(sum(map(len, pieces)))
    framing = ("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", size)
    writer = h11.Connection(h11.SERVER)
    writer.receive_data(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    writer.next_event()
    data = writer.send(h11.Response(status_code=status, headers=[framing, ("Server", "h11")])) or b""
    for piece in pieces:
        data += writer.send(h11.Data(data=piece)) or b""
    data += writer.send(h11.EndOfMessage()) or b""
    assert outcome(data, cuts) == (status, b"".join(pieces), True)
