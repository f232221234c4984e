"""What stands in a verdict's evidence beside its sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.cli.why import describe_verdict
from launcher.kube.errors import DeniedError
from launcher.objects import Resource
from launcher.why.explain import explain
from launcher.why.gather import describe_skipped
from launcher.why.rules.images import is_bare
from launcher.why.snapshot import parse_snapshot
from launcher.why.verdict import Resolves, Verdict, last_words, without_repeats

SENTENCE = "a claim has no volume yet: no plug-in of that name is there on any node of it"


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("[a1 r0] no plug-in of that name is there on any node of it", ()),
        ("runs: no plug-in of that name is there on any node of it", ()),
        (
            "runs: ProvisioningFailed: no plug-in of that name is there on any node of it (x4)",
            ("runs: ProvisioningFailed: … (x4)",),
        ),
        ("node g1: 8 nvidia.com/gpu, 6 free", ("node g1: 8 nvidia.com/gpu, 6 free",)),
        ("runs: any node of it", ("runs: any node of it",)),
    ],
    ids=["log", "about", "event", "news", "short"],
)
def test_evidence_does_not_say_what_the_sentence_says(line: str, left: tuple[str, ...]) -> None:
    verdict = Verdict(code="claim-pending", sentence=SENTENCE, evidence=(line,), resolves=Resolves.LATER)
    assert without_repeats(verdict).evidence == left


def test_the_end_of_a_text_begins_with_a_whole_word() -> None:
    assert last_words("failed to create the sandbox", most=11) == "… sandbox"
    assert last_words("short enough", most=12) == "short enough"


CORPUS = Path(__file__).parent / "corpus"


def first_of(name: str, **changes: str) -> Verdict:
    text = (CORPUS / f"{name}.json").read_text()
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    return explain(parse_snapshot(json.loads(text)["snapshot"]))[0]


def test_who_may_not_see_nodes_is_not_promised_that_it_ever_fits() -> None:
    verdict = first_of("cpu-and-memory-unseen")
    assert "enough free cpu and memory" in verdict.sentence
    assert verdict.fix == "lower Launch.resources.cpu and lower Launch.resources.memory, or wait"
    shown = " ".join("\n".join(describe_verdict(verdict)).split())
    assert "cannot be told without k8s/rbac/capacity.yaml" in shown
    assert first_of("cpu-in-use").prospect == ""


def test_a_registry_that_cannot_be_reached_may_be_a_name_with_a_mistake_in_it() -> None:
    verdict = first_of("registry-name")
    assert "a name with a mistake in it stays so" in verdict.prospect
    assert "docker.io" not in verdict.fix
    bare = first_of("registry-name", image=("registry.example/ftlaunch-trainer", "ftlaunch-trainer"))
    assert bare.fix.endswith("names no registry, and so docker.io is asked")


@pytest.mark.parametrize(
    ("image", "bare"),
    [
        ("trainer:1", True), ("team/trainer", True), ("registry.example/trainer", False),
        ("localhost/trainer", False), ("registry:5000/trainer", False),
    ],
)  # fmt: skip
def test_a_name_without_a_registry_is_known(image: str, bare: bool) -> None:
    assert is_bare(image) is bare


def test_a_job_that_has_made_no_step_is_not_called_well() -> None:
    sentence = first_of("one-rank-begins").sentence
    assert sentence.startswith("it begins: 1 of 2 ranks (nothing heard yet of rank 1), attempt 1")
    assert first_of("healthy").sentence.startswith("all is well: 4 of 4 ranks, ")


@pytest.mark.parametrize(
    ("plural", "namespace", "file"), [("nodes", "", "capacity.yaml"), ("pods", "ml", "pods are forbidden")]
)
def test_what_may_not_be_looked_at_names_the_role_for_it(plural: str, namespace: str, file: str) -> None:
    error = DeniedError(where="GET /api/v1", expected="to list", said="pods are forbidden " + "word " * 100)
    skipped = describe_skipped(Resource(plural=plural, kind="X"), namespace=namespace, error=error)
    assert file in skipped.reason
    assert skipped.is_of_room is not bool(namespace)
    assert skipped.reason.endswith(("word …", "rule"))
