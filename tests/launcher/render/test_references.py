from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.render.references import escape_references, expand_references

VARIABLES = {"HOME": "/home/x", "A": "$(HOME)"}
dollars = st.text(st.sampled_from("$()AHOME "))


@given(dollars | st.text())
def test_escaped_text_arrives_as_it_was(text):
    assert expand_references(escape_references(text), VARIABLES) == text


# The cases of k8s.io/kubernetes third_party/forked/golang/expansion that matter to us.
@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("$(HOME)/a", "/home/x/a"), ("$(A)", "$(HOME)"), ("$$(HOME)", "$(HOME)"), ("$(NONE)", "$(NONE)"),
        ("$(HOME", "$(HOME"), ("$", "$"), ("$$", "$"), ("$$$(HOME)", "$/home/x"), ("$HOME", "$HOME"),
        ("$()", "$()"), ("a$$", "a$"),
    ],
)  # fmt: skip
def test_references_expand_as_in_kubernetes(text, result):
    assert expand_references(text, VARIABLES) == result


@pytest.mark.parametrize("text", ["plain", "cost $5", "$HOME", "${HOME}"])
def test_text_without_references_stays_readable(text):
    assert escape_references(text) == text
