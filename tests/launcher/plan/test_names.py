from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.names import MAX_JOB_NAME, is_dns_label, is_run_id, job_name, new_run_id, to_dns_label

run_ids = st.text("0123456789abcdef", min_size=32, max_size=32)


@given(st.text(), run_ids)
def test_any_text_makes_a_job_name_that_fits(text, run_id):
    name = job_name(to_dns_label(text), run_id=run_id)
    assert is_dns_label(name)
    assert len(f"{name}-worker-999") <= 63


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("ResNet50_vd", "resnet50-vd"),
        ("été 2024", "ete-2024"),
        ("50 flowers", "flowers"),
        ("---", "run"),
        ("花", "run"),
    ],
)
def test_a_files_stem_becomes_a_label(text, label):
    assert to_dns_label(text) == label


@given(run_ids, run_ids)
def test_the_suffix_is_a_function_of_the_first_25_bits(one, other):
    same = int(one, 16) >> 103 == int(other, 16) >> 103
    assert (job_name("a", run_id=one) == job_name("a", run_id=other)) is same


def test_a_long_prefix_is_cut():
    name = job_name("x" * 60, run_id="0" * 32)
    assert name == "x" * 40 + "-aaaaa"
    assert len(name) <= MAX_JOB_NAME


def test_run_ids_are_drawn():
    drawn = {new_run_id() for _ in range(100)}
    assert len(drawn) == 100
    assert all(map(is_run_id, drawn))
    assert not is_run_id("0" * 31 + "G")
