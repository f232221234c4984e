"""One place has one sentence, and advice that is true."""

from __future__ import annotations

from typing import Any

import pytest

EITHER = "Arch.pretrained: expected true or false or text, got"


@pytest.mark.parametrize(
    ("new", "says"),
    [
        ("pretrained: null", f"{EITHER} None"),
        ("pretrained: {a: b}", f"{EITHER} {{'a': 'b'}}"),
        ("pretrained: 3", f"{EITHER} 3 (YAML"),
        ("return_stages: [a]", "Arch.return_stages.0: expected a whole number, got 'a'"),
        ("return_stages: text", "Arch.return_stages: expected true or false"),
    ],
)
def test_a_place_of_several_types_has_one_sentence(new: str, says: str, config: Any) -> None:
    (line,) = [
        line
        for line in config.change("class_num: 102", f"class_num: 102\n  {new}").refusals()
        if "Arch" in line
    ]
    assert says in line


@pytest.mark.parametrize(
    ("old", "new", "advice"),
    [
        ("output_dir: ./output/", "output_dir: no", "quote it"),
        ("output_dir: ./output/", "output_dir: 1.10", "quote it twice: \"'1.10'\""),
        ("device: cpu", "device: 5", None),
        ("RandCropImage: {size: 224}", "RandFlipImage: {flip_code: 2}", None),
        ("seed: 42", "save_inference_dir: 0", "quote it twice: \"'0'\""),
    ],
)
def test_quotes_are_advised_where_they_help(old: str, new: str, advice: str | None, config: Any) -> None:
    (line,) = config.change(old, new).refusals()
    assert line.endswith(f"so); {advice}") if advice else "quote" not in line


@pytest.mark.parametrize("written", ["no", "\"'1.10'\"", "\"'0'\""])
def test_what_is_advised_works(written: str, config: Any) -> None:
    quoted = f'"{written}"' if written == "no" else written
    loaded = config.change("output_dir: ./output/", f"output_dir: {quoted}").load()
    assert loaded.config.run.output_dir == written.strip("\"'")


def test_of_very_many_problems_some_are_told_and_the_others_counted(config: Any) -> None:
    config.text += "".join(f"Glob{number}: 1\n" for number in range(3000))
    lines = config.warnings()
    assert len(lines) == 101
    assert "2,900 more like the last ones" in lines[-1]
