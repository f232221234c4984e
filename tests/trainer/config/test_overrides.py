from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.config.document import parse_document
from trainer.config.overrides import apply_overrides, parse_override
from trainer.config.problems import ConfigError
from trainer.config.root import TrainConfig

Refused = Callable[[Callable[[], object]], list[str]]


def apply(text: str, *overrides: str, known: bool = False) -> dict[str, Any]:
    document = parse_document(text.encode(), name="cfg.yaml")
    return apply_overrides(document, overrides, is_known=lambda path: known).values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1", 1), ("a=1e-3", 0.001), ("a=[1, 2]", [1, 2]), ("a={'b': 1}", {"b": 1}), ("a='1'", "1"),
        ("a=null", None), ("a=None", None), ("a=true", True), ("a=False", False), ("a=text", "text"),
        ("a=", ""), ("a=b=c", "b=c"), ("a=no", "no"), ("a=__import__('os')", "__import__('os')"),
        ("a=1.0/255.0", "1.0/255.0"),
    ],
)  # fmt: skip
def test_a_value_is_a_literal_or_a_word_or_text(text: str, value: object) -> None:
    found = parse_override(text).value
    assert found == value
    assert type(found) is type(value)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert all(parse_override(text).path)


@pytest.mark.parametrize("text", ["json", "a", "=1", "a..b=1", ".a=1", "+=1"])
def test_what_names_no_key_is_refused(text: str, refused: Refused) -> None:
    (line,) = refused(lambda: parse_override(text))
    assert line.startswith("-o: expected KEY.KEY=VALUE, such as Global.epochs=3, got ")
    assert ("did you mean --output json?" in line) == (text == "json")


def test_list_items_are_reached_by_index() -> None:
    assert apply("A: [{x: 1}, {x: 2}]", "A.1.x=5") == {"A": [{"x": 1}, {"x": 5}]}


def test_a_key_of_digits_stays_as_it_was_typed() -> None:
    assert apply("A: {'007': 1}", "A.007=2") == {"A": {"007": 2}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("A.2=1", "A: expected a list index below 2, got '2'"),
        ("A.-1=1", "A: expected a list index below 2, got '-1'"),
        ("A.x=1", "A: expected a list index below 2, got 'x'"),
        ("A.²=1", "A: expected a list index below 2, got '²'"),
        ("A.0.x=1", "A.0: expected a mapping or a list, got 7"),
    ],
)
def test_a_wrong_way_into_a_list_is_refused(override: str, message: str, refused: Refused) -> None:
    assert refused(lambda: apply("A: [7, 8]", override)) == [f"-o {override}: {message}"]


def test_a_key_that_nobody_knows_is_refused_with_the_nearest_one(refused: Refused) -> None:
    assert refused(lambda: apply("A: {epochs: 1}", "A.epoch=2", "B.c=1")) == [
        "-o A.epoch=2: A.epoch: expected a key that the config or PaddleClas knows; did you mean 'epochs'?; "
        "write -o +A.epoch=2 to set it all the same",
        "-o B.c=1: B.c: expected a key that the config or PaddleClas knows; "
        "write -o +B.c=1 to set it all the same",
    ]


@pytest.mark.parametrize(
    ("override", "meant"),
    [
        ("epochs=3", "-o Global.epochs=3"),
        ("Epochs=3", "-o Global.epochs=3"),
        ("epoch=3", "-o Global.epochs=3"),
        ("Train.sampler.batch_size=8", "-o DataLoader.Train.sampler.batch_size=8"),
        ("device=cpu", "-o Global.device=cpu"),
        ("learning_rate=0.1", "-o Optimizer.lr.learning_rate=0.1"),
        ("lr.learning_rate=0.1=2", "-o Optimizer.lr.learning_rate=0.1=2"),
    ],
)
def test_a_key_without_its_section_leads_on(config: Any, override: str, meant: str, refused: Refused) -> None:
    (problem,) = refused(lambda: config.load(override))
    assert f"; did you mean {meant}?; write -o +{override}" in problem


def test_a_key_that_stands_in_several_places_names_them(config: Any, refused: Refused) -> None:
    (problem,) = refused(lambda: config.load("batch_size=8"))
    assert "-o Infer.batch_size=8 or -o DataLoader.Train.sampler.batch_size=8?" in problem
    (problem,) = refused(lambda: config.load("frobnicate=8"))
    assert "did you mean" not in problem


def test_a_plus_sets_a_key_that_nobody_knows() -> None:
    assert apply("A: {}", "+A.x.y=1") == {"A": {"x": {"y": 1}}}


def test_a_key_that_the_schema_knows_is_made() -> None:
    assert apply("A: {}", "A.x=1", known=True) == {"A": {"x": 1}}


def test_an_operation_without_parameters_gets_some() -> None:
    assert apply("A:\n- Op:\n", "A.0.Op.x=1", known=True) == {"A": [{"Op": {"x": 1}}]}


def test_the_last_of_equal_overrides_wins() -> None:
    assert apply("A: {x: 1}", "A.x=2", "A.x=3") == {"A": {"x": 3}}


def test_the_document_given_is_left_as_it_was() -> None:
    document = parse_document(b"A: {x: 1}", name="cfg.yaml")
    apply_overrides(document, ["A.x=2"], is_known=lambda path: True)
    assert document.values == {"A": {"x": 1}}


def test_the_tutorial_s_override_of_an_operation_works(config: Any) -> None:
    train = "DataLoader.Train.dataset.transform_ops"
    loaded = config.load(f"{train}.1.RandCropImage.size=320", "Global.seed=None", "Arch.pretrained=True")
    assert loaded.config.data.Train.dataset.transform_ops[1].size == (320, 320)
    assert loaded.config.run.seed is None
    assert loaded.config.arch.pretrained is True


def test_a_wrong_value_is_reported_at_the_override_that_set_it(config: Any) -> None:
    assert config.refusal("Global.epochs=many") == (
        "-o Global.epochs=many: Global.epochs: expected a whole number, got 'many'"
    )


def test_overrides_reach_sections_that_the_file_does_not_have(config: Any) -> None:
    loaded = config.load("AMP.use_amp=False", "AMP.level=O2", "Infer.batch_size=3")
    assert isinstance(loaded.config, TrainConfig)
    assert loaded.config.amp is not None
    assert loaded.config.amp.level == "O2"
    assert loaded.config.infer is not None
    assert loaded.config.infer.batch_size == 3
