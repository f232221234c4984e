"""Small files that stand for much, and large ones, are refused with a place, in bounded work and memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

import pytest

from trainer.config.document import MAX_BYTES, MAX_DEPTH, parse_document, read_literal
from trainer.config.load import read_document
from trainer.config.problems import ConfigError


def _chain(levels: int, first: str, next_of: str) -> str:
    lines = [f"v0: &v0 {first}"]
    lines += [
        f"v{n}: &v{n} {next_of.replace('@', f'*v{n - 1}').replace('#', str(n))}" for n in range(1, levels)
    ]
    return "\n".join(lines) + "\n"


BOMBS = {
    "a list of lists of lists": _chain(12, "[a, b]", "[@, @, @, @, @, @]"),
    "mappings of mappings": _chain(25, "{a: b}", "{x: @, y: @}"),
    "merges of merges": _chain(12, "{k0: 1}", "{<<: [@, @, @, @, @], k#: 1}"),
    "a long chain of aliases": _chain(5000, "[a]", "[@]"),
    "a long chain of merges": _chain(5000, "{k0: 1}", "{<<: @, k#: 1}"),
    "a merge of itself": "A: &a {<<: *a, b: 1}\n",
    "a list that contains itself": "A: &a [*a]\n",
    "brackets": "A: " + "[" * 500 + "]" * 500,
    "very many brackets": "A: " + "[" * 200_000 + "]" * 200_000,
    "braces": "A: " + "{a: " * 300 + "1" + "}" * 300,
    "dashes": "A:\n " + "- " * 500 + "x",
    "indents": "".join(" " * n + "k:\n" for n in range(200)),
    "a number of many digits": "A: " + "7" * 5000,
    "a binary number of many digits": "A: 0b" + "1" * 50_000,
    "a number to base sixty": "A: " + "1:" * 50_000 + "1",
    "a float to base sixty": "A: " + "1:" * 50_000 + "1.5",
    "a number of more than 64 bits": "A: 9223372036854775808",
    "a key of many digits": "? " + "7" * 5000 + "\n: 1",
    "a list as a key": "? [a, b]\n: 1",
    "very many values": "A: [" + "x," * 400_000 + "]",
}


class _Steps:
    """Counts Python's calls and returns: work that is the same on a busy machine, as time is not."""

    count = 0

    def __enter__(self) -> _Steps:
        self._before = sys.getprofile()
        sys.setprofile(self._step)
        return self

    def _step(self, *_: object) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)


@pytest.mark.parametrize("name", BOMBS)
def test_what_a_file_stands_for_is_bounded(name: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError) as caught, _Steps() as steps:
        parse_document(BOMBS[name].encode(), name="cfg.yaml")
    assert steps.count < 10_000_000  # calls and returns, 2 to 4 seconds of one core
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 << 10  # KiB
    for problem in caught.value.problems:
        assert problem.line is not None
        assert len(str(problem)) < 400
        assert "expected" in problem.message


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 50 << 20])
def test_no_more_of_a_file_is_read_than_a_config_may_have(tmp_path: Path, size: int) -> None:
    path = tmp_path / "cfg.yaml"
    with path.open("wb") as file:
        file.truncate(size)
    with pytest.raises(ConfigError, match="expected a config of at most 1 MiB"):
        read_document(path)


@pytest.mark.parametrize(
    "text",
    ["[" * 4000, "(" * 200_000, "-" * 100_000 + "1", "9" * 4000, "[[9223372036854775808]]",
     "not " * 9000 + "1", "{" * 70 + "}" * 70, "[" * 90 + "]" * 90],
    ids=["brackets", "parentheses", "signs", "digits", "65 bits inside", "not", "braces", "deep list"],
)  # fmt: skip
def test_a_text_that_spells_too_much_stays_text(text: str) -> None:
    assert read_literal(text) == text


def test_what_configs_hold_is_far_from_the_bounds() -> None:
    deep = "A: " + "[" * (MAX_DEPTH - 3) + "]" * (MAX_DEPTH - 3)
    shared = "A: &a {k: [1, 2, 3]}\nB: [*a, *a, *a]\nC: {<<: *a, j: 2}\nD: -9223372036854775807\n"
    assert parse_document(deep.encode(), name="cfg.yaml").values
    values = parse_document(shared.encode(), name="cfg.yaml").values
    assert values["B"] == [{"k": [1, 2, 3]}] * 3
    assert values["C"] == {"k": [1, 2, 3], "j": 2}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("class_num: 102", "class_num: 999999999999", "Arch.class_num: expected a number of at most 1e+06"),
        (
            "RandCropImage: {size: 224}",
            "RandCropImage: {size: 900000000}",
            "expected a number of at most 65536",
        ),
        ("num_workers: 4", "num_workers: 900000000", "num_workers: expected a number of at most 1024"),
    ],
)
def test_no_number_asks_for_what_no_machine_has(old: str, new: str, says: str, config: Any) -> None:
    assert says in "\n".join(config.change(old, new).refusals())


def test_an_override_is_no_deeper_than_a_config(config: Any) -> None:
    with pytest.raises(ConfigError, match="expected at most 64 keys, got 3,000"):
        config.load("+" + ".".join(["a"] * 3000) + "=1", "Global.epochs=2")
