from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from launcher.render.filters import to_block, to_json

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NASTY = [
    "no", "1e3", "1.10", "010", "12:30:00", "~", "null", "", " ", "- a", "a: b", "# c", "---", "...", "'",
    '"', "{{ x }}", "{% raw %}", "\\", "\t", "\r\n", "\x85", "\u2028", "\ufeff", "\U0001f600", "\x00", "\x7f",
    "<<", "&a", "*a", "!!python/object:os.system", "%YAML 1.1", "y" * 2000,
]  # fmt: skip


@given(values)
def test_yaml_reads_what_was_written(value):
    assert yaml.safe_load(to_json(value)) == value


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_nasty_text_stays_text_as_value_and_as_key(text):
    emitted = to_json(text)
    assert yaml.safe_load(f"a:\n  {emitted}") == {"a": text}
    assert json.loads(emitted) == text
    if len(text) < 1000:  # PyYAML's longest simple key; Kubernetes' keys are shorter
        assert yaml.safe_load(f"{emitted}: 1") == {text: 1}


@given(st.text() | st.text(st.sampled_from("ab:#-| \t\r\n\x85\ufeff")), st.integers(1, 8))
def test_a_block_holds_its_text_byte_for_byte(text, indent):
    assert yaml.safe_load(f"a:\n{' ' * (indent - 1)}b: {to_block(text, indent + 1)}\n") in (
        {"a": {"b": text}},
        {"a": None, "b": text},  # at indent 1 there is no level left for b
    )


def test_a_readable_text_becomes_a_readable_block():
    assert to_block("Global:\n  epochs: 3\n\n# é\n", 4) == "|\n    Global:\n      epochs: 3\n\n    # é"


@pytest.mark.parametrize("text", ["no end", " indented\n", "a\r\nb\n", "\nlate\n", "a\n\n", "tab\t\x0b\n"])
def test_what_a_block_might_change_is_written_as_json(text):
    assert to_block(text, 4) == to_json(text)


def test_what_json_does_not_have_is_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(float("nan"))
