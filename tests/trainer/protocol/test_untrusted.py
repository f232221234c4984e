"""What a stranger may write where JSON is read: nothing but `FormatError` comes of it."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.checkpoints.state import parse_state
from trainer.node.messages import parse_message
from trainer.protocol.codec import FormatError
from trainer.protocol.nodefile import parse_node_file
from trainer.protocol.pathmap import parse_path_map
from trainer.protocol.progress import MARK, parse_progress
from trainer.protocol.termination import parse_termination
from trainer.protocol.untrusted import MAX_DEPTH, parse_json, parse_object, shown

RANK = {
    "rank": 0, "node": 0, "step": 7, "epoch": 1, "phase": "compute", "loss": 0.5, "images_per_s": 9.5,
    "silent_s": 1.5,
}  # fmt: skip
PROGRESS = {"schema": 1, "time_s": 5.5, "attempt": 1, "world_size": 1, "total_steps": 9, "ranks": [RANK]}
TERMINATION = {
    "schema": 1, "exit": 3, "rank": 0, "rank_exit": 3, "attempt": 1, "step": 2, "reason": "r",
    "checkpoint": None,
}  # fmt: skip
STATE = {
    "schema": 1, "run_id": "ab", "epoch": 1, "step": 2, "sampler": {"epoch": 1, "world_size": 1, "cursor": 0},
    "metric": 0.5, "best_metric": 0.5, "best_epoch": 1, "draws": None, "plateau": None,
    "loss_scale": {"scale": 2.0, "incr_count": 1, "decr_count": 0},
}  # fmt: skip
NODE = {
    "schema": 1, "run_id": "ab", "job": "j", "nodes": 2, "procs_per_node": 1, "coordinator_host": "h",
    "coordinator_port": 1, "backend": "gloo", "output_dir": "/o", "overwrite": False, "continues": None,
    "max_restarts": 1, "backoff_s": 1.0, "deadline_s": None, "grace_s": 1.0, "rendezvous_timeout_s": 1.0,
    "hang_timeout_s": None,
}  # fmt: skip
EXITED = {
    "kind": "exited", "attempt": 1, "rank": 1, "code": 1, "killed": False, "reason": "r", "step": 1,
    "checkpoint": None,
}  # fmt: skip
RECORDS = {
    "kind": "records", "attempt": 1, "asked": False, "ranks": [{**RANK, "recorded": True, "total_steps": 9}]
}  # fmt: skip
READERS: dict[str, tuple[dict[str, Any], Callable[[str], object]]] = {
    "progress": (PROGRESS, lambda text: parse_progress(MARK + text.encode())),
    "termination": (TERMINATION, parse_termination),
    "state": (STATE, parse_state),
    "node file": (NODE, parse_node_file),
    "exited": (EXITED, lambda text: parse_message(text.encode())),
    "records": (RECORDS, lambda text: parse_message(text.encode())),
    "path map": ({"/a": "/b"}, parse_path_map),
}
ODD_VALUES = [
    "9" * 400, "-" + "9" * 25, "1e400", "-1e400", "NaN", "Infinity", "-Infinity", "[" * 500 + "]" * 500,
    '{"a":' * 500 + "1" + "}" * 500, "true", "[]", "{}", '"text"', "null", "-1", "1e17", "9007199254740993",
    '"\\ud800"', "[null]", '[{"rank": {}}]',
]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every value below a document."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*path, key))
    return found


def replaced(document: Any, path: tuple[Any, ...], raw: str) -> str:
    """Return the document as text, with a value replaced by text that need not be JSON."""
    copy = json.loads(json.dumps(document))
    holder = copy
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = "@@"
    return json.dumps(copy).replace('"@@"', raw)


@pytest.mark.parametrize("name", READERS)
def test_the_documents_of_this_test_are_read(name: str) -> None:
    document, read = READERS[name]
    assert read(json.dumps(document)) is not None


@pytest.mark.parametrize("odd", ODD_VALUES, ids=lambda text: text[:12])
@pytest.mark.parametrize("name", READERS)
def test_an_odd_value_in_any_place_is_read_or_refused_by_name(name: str, odd: str) -> None:
    document, read = READERS[name]
    for path in places(document):
        with contextlib.suppress(FormatError):
            repr(read(replaced(document, path, odd))).encode()  # what is read can be printed


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=9)
)
def test_any_json_value_in_place_of_a_document_is_refused(value: object) -> None:
    text = json.dumps(value)
    for _, read in READERS.values():
        with pytest.raises(FormatError):
            read(text)


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, 900, 100_000, 1_000_000])
@pytest.mark.parametrize("kind", ["list", "object"])
def test_nesting_is_taken_up_to_a_limit_that_no_stack_knows(levels: int, kind: str) -> None:
    opening, closing = ("[", "]") if kind == "list" else ('{"a":', "}")
    text = opening * levels + ("1" if kind == "object" else "") + closing * levels
    if levels > MAX_DEPTH:
        with pytest.raises(FormatError, match="levels"):
            parse_json(text, where="it")
    else:
        json.dumps(parse_json(text, where="it"))


def test_breadth_is_no_depth() -> None:
    assert len(parse_object(json.dumps({str(n): [[n]] for n in range(1000)}), where="it")) == 1000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b'{"a": 1, "b": 2, "a": 3}', "it: expected each key once, got 'a' twice"),
        (b'[{"x": {"k": 1, "k": 1}}]', "it: expected each key once, got 'k' twice"),
        (b"[18446744073709551616]", "it: expected whole numbers of 64 bits"),
        (b"[-9223372036854775809]", "it: expected whole numbers of 64 bits"),
        (b"[" + b"7" * 5000 + b"]", "it: expected whole numbers of 64 bits, got one of 5000 digits"),
        (b"[1e309]", "it: expected finite numbers"),
        (b"[NaN]", "it: expected finite numbers, got NaN"),
        (b"\xff\xfe{}", "it: expected JSON"),
        (b"\xef\xbb\xbf{}", "it: expected JSON"),
        (b"", "it: expected JSON, got b''"),
        (b"[" * 30, "it: expected JSON"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_refusal_says_what_was_expected(text: bytes, says: str) -> None:
    with pytest.raises(FormatError) as caught:
        parse_json(text, where="it", max_bytes=10_000)
    assert str(caught.value).startswith(says)
    assert caught.value.where == "it"
    assert caught.value.expected in says or says.startswith(f"it: expected {caught.value.expected}")


def test_a_document_beyond_its_size_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(FormatError, match="at most 10 bytes, got 11"):
        parse_json(b'"123456789"', where="it", max_bytes=10)
    assert parse_json(b'"12345678"', where="it", max_bytes=10) == "12345678"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('["\\ud800"]', ["\ufffd"]),
        ('["a\\udfffb"]', ["a\ufffdb"]),
        ('["\\ud83d\\ude42"]', ["🙂"]),
        ('["\\uD83D\\uDE42\\uDE42"]', ["🙂\ufffd"]),
        ('["\\\\ud800"]', ["\\ud800"]),
        ('["\\\\\\ud800"]', ["\\\ufffd"]),
        ('{"\\udc00": 1}', {"\ufffd": 1}),
        ('["\ud800"]', ["\ufffd"]),
    ],
)
def test_half_a_surrogate_pair_becomes_the_character_that_says_so(text: str, value: object) -> None:
    assert parse_json(text, where="it") == value


@given(st.text(st.characters(exclude_categories=["Cs"])), st.booleans())
def test_whole_text_comes_through_whichever_way_it_is_escaped(text: str, ascii_only: bool) -> None:
    assert parse_json(json.dumps([text], ensure_ascii=ascii_only), where="it") == [text]


def test_numbers_that_python_alone_writes_are_null_where_that_is_asked_for() -> None:
    text = json.dumps({"a": math.nan, "b": [math.inf, -math.inf], "c": 1.5})
    assert parse_json(text, where="it", nan_as_none=True) == {"a": None, "b": [None, None], "c": 1.5}


@pytest.mark.parametrize("metric", [math.nan, math.inf])
def test_a_checkpoint_whose_metric_was_no_number_is_still_read(metric: float) -> None:
    assert parse_state(json.dumps({**STATE, "metric": metric})).metric is None


@pytest.mark.parametrize(
    "value", ["x" * 10**6, b"x" * 10**6, [0] * 10**6, {1: 2}, 10**5000, object(), None], ids=range(7)
)
def test_any_value_is_shown_in_a_few_words(value: object) -> None:
    assert 0 < len(shown(value)) < 120


def test_a_document_that_is_no_object_is_refused() -> None:
    with pytest.raises(FormatError, match=r"^thing: expected a JSON object, got '\[1\]'"):
        parse_object("[1]", where="thing")
