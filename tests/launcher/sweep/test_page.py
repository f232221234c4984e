"""The page of a study: what it shows, and that nothing of a config gets into it as markup."""

from __future__ import annotations

import re

import pytest

from launcher.sweep.page import Scale, render_page, write_page
from launcher.sweep.study import PAGE
from tests.launcher.sweep.conftest import StandIns

RATE = "Optimizer.lr.learning_rate"


@pytest.fixture
def ended(make_study, drive):
    over = (f"{RATE}=log(1e-3,1)", "Arch.name=[ResNet50,'<script>x</script>']")
    study = make_study(over=over, sampler="random", trials=16, prune="median", epochs=9)
    driver = drive(study, StandIns(lambda trial, job: [trial.params[RATE] * epoch for epoch in range(1, 10)]))
    while not (picture := driver.step()).is_over:
        pass
    return study, picture


def test_the_page_has_every_part(ended):
    study, picture = ended
    text = write_page(study, picture).read_text()
    assert (study.folder / PAGE).is_file()
    for heading in (
        "The best",
        "What decides",
        "Values against",
        "All values of a trial",
        "How they went",
        "Trials",
    ):
        assert f"<h2>{heading}" in text
    assert len(re.findall(r'<circle class="best"', text)) == 3  # a key each, and the end of its curve
    assert "default-src 'none'" in text
    assert "stopped early" in text


def test_what_comes_from_a_config_is_no_markup(ended):
    study, picture = ended
    text = render_page(study, picture, importance={})
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "What decides" not in text


def test_a_study_without_a_winner_has_a_page(make_study, drive):
    study = make_study()
    picture = drive(study, StandIns(lambda trial, job: [0.1, 0.2, 0.3])).step()
    assert "No trial has ended by itself yet" in render_page(study, picture, importance={})


@pytest.mark.parametrize(
    ("scale", "value", "share"),
    [
        (Scale(low=0, high=10), 5, 0.5),
        (Scale(low=0.01, high=1, log=True), 0.1, 0.5),
        (Scale(low=0, high=1, names=("a", "b")), "b", 0.75),
        (Scale(low=3, high=3), 3, 0.5),
        (Scale(low=0, high=1), 7, 1.0),
    ],
)
def test_a_value_has_its_place_on_an_axis(scale, value, share):
    assert scale.share(value) == pytest.approx(share)
    assert all(0 <= place <= 1 for place, _ in scale.ticks)
