from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.document import Document, parse_document, read_literal

Refused = Callable[[Callable[[], object]], list[str]]


def parse(text: str) -> Document:
    return parse_document(text.encode(), name="cfg.yaml")


def test_every_value_has_its_line_and_column() -> None:
    document = parse("Global:\n  epochs: 3\nA:\n  - x: 1\n")
    assert (
        document.locations[("Global", "epochs")].line,
        document.locations[("Global", "epochs")].column,
    ) == (
        2,
        11,
    )
    assert (document.locations[("A", 0, "x")].line, document.locations[("A", 0, "x")].column) == (4, 8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("'1e-3'", 0.001), ("'True'", True), ("'[1, 2]'", [1, 2]), ("1.0/255", "1.0/255"),
        ("abc", "abc"), ("'None'", None), ("no", False), ("1.10", 1.1), ("010", 8), ("''", ""),
    ],
)  # fmt: skip
def test_a_text_in_a_mapping_becomes_the_literal_that_it_spells(text: str, value: object) -> None:
    found = parse(f"A: {{k: {text}}}").values["A"]
    assert found == {"k": value}
    assert isinstance(found, dict)
    assert type(found["k"]) is type(value)


def test_a_text_in_a_list_stays_text() -> None:
    assert parse("A: ['1e-3', '2']").values == {"A": ["1e-3", "2"]}


def test_quoted_text_in_launch_stays_text() -> None:
    assert parse("Launch: {env: {N: '1'}}\nGlobal: {n: '1'}").values == {
        "Launch": {"env": {"N": "1"}},
        "Global": {"n": 1},
    }


@given(st.text(max_size=40))
def test_a_literal_is_never_an_error(text: str) -> None:
    read_literal(text)


@pytest.mark.parametrize("text", ["__import__('os').getcwd()", "().__class__", "lr", "1+1", "(" * 5000])
def test_a_literal_is_never_evaluated(text: str) -> None:
    assert read_literal(text) == text


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert parse_document(b"\xef\xbb\xbfGlobal: {}", name="cfg.yaml").values == {"Global": {}}


def test_aliases_and_merges_work_as_in_yaml() -> None:
    text = "A: &a {x: 1, y: 2}\nB: *a\nC: {<<: *a, y: 3}\n"
    assert parse(text).values == {"A": {"x": 1, "y": 2}, "B": {"x": 1, "y": 2}, "C": {"x": 1, "y": 3}}


def test_the_key_on_needs_no_quotes_though_it_is_a_boolean_in_yaml_1_1() -> None:
    text = "Launch: {notify: {file: /secrets/chat, on: [ended]}}\n"
    assert parse(text).values == {"Launch": {"notify": {"file": "/secrets/chat", "on": ["ended"]}}}


def test_all_repeated_keys_are_reported_at_once(refused: Refused) -> None:
    assert refused(lambda: parse("A: 1\nB: {x: 1,\n  x: 2}\nA: 3\n")) == [
        "cfg.yaml:4:1: A: expected each key once, got it again (first on line 1)",
        "cfg.yaml:3:3: B.x: expected each key once, got it again (first on line 2)",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"A:\n\tb: 1\n", "cfg.yaml:2:1: expected spaces, got a tab; YAML is indented with spaces only"),
        (b"A: 1\nB: \xff\n", "cfg.yaml:2: expected UTF-8 text; save the file as UTF-8"),
        (b"- 1\n", "cfg.yaml:1:1: expected a mapping of sections, got [1]"),
        (b"1: 2\n", "cfg.yaml:1:1: expected text as a key, got 1; quote it"),
        (b"A: {no: 2}\n", "cfg.yaml:1:5: A: expected text as a key, got False; quote it"),
        (b"A: [1\n", "cfg.yaml:2:1: expected YAML: while parsing a flow sequence expected"),
        (b"A: &a [*a]\n", "cfg.yaml:1:4: A.0: expected a tree, got an alias that contains itself"),
        (b"A: !!python/object/apply:os.getcwd []\n", "cfg.yaml:1:4: A: expected a plain value, got the tag "),
        (b"A: 2026-02-30\n", "cfg.yaml:1:4: A: expected a value, got '2026-02-30'; quote it"),
        (b"A: {2026-02-30: x}\n", "cfg.yaml:1:5: A: expected text as a key, got '2026-02-30'; quote it"),
        (b"A: !!bool maybe\n", "cfg.yaml:1:4: A: expected a value, got 'maybe'; quote it"),
        (b"A: !!int ''\n", "cfg.yaml:1:4: A: expected a value, got ''; quote it"),
        (b"A: !!timestamp 5\n", "cfg.yaml:1:4: A: expected a value, got '5'; quote it"),
        (b"A: {!!bool maybe: x}\n", "cfg.yaml:1:5: A: expected text as a key, got 'maybe'; quote it"),
        (b'\nA: "\\U00110000"\n', "cfg.yaml:2: expected YAML, got an escape such as \\U that names no "),
        (b'A: "\\UFFFFFFFF"\n', "cfg.yaml:1: expected YAML, got an escape such as \\U that names no "),
        (b"A: 1\n---\nB: 2\n", "cfg.yaml:2:1: "),
        (b"A: \x00\n", "cfg.yaml: expected YAML, got "),
    ],
    ids=["tab", "not-utf-8", "list", "number-key", "bool-key", "open-list", "endless-alias", "python-tag",
         "no-date", "no-date-as-key", "no-bool", "no-int", "no-timestamp", "no-bool-as-key", "no-character",
         "number-too-large-for-a-character", "two-documents", "null-character"],
)  # fmt: skip
def test_what_is_no_config_is_refused_with_its_place(content: bytes, message: str, refused: Refused) -> None:
    lines = refused(lambda: parse_document(content, name="cfg.yaml"))
    assert lines[0].startswith(message), lines


def test_an_empty_file_is_an_empty_mapping() -> None:
    assert parse("").values == {}
