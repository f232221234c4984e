"""Every snapshot of the corpus gets its verdict, and no verdict disagrees with what `status` shows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from launcher.backends.states import JobState
from launcher.why.codes import CODES
from launcher.why.explain import explain
from launcher.why.snapshot import parse_snapshot
from launcher.why.verdict import Resolves, Verdict
from tests.launcher.why.made import situations

CORPUS = Path(__file__).parent / "corpus"
CASES = {path.stem: json.loads(path.read_text()) for path in sorted(CORPUS.glob("*.json"))}
ENDED = {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST}
STATES: tuple[tuple[tuple[str, ...], set[JobState]], ...] = (
    (("succeeded",), {JobState.SUCCEEDED}),
    (("cancelled",), {JobState.CANCELLED}),
    (("failed", "attempts-used-up"), {JobState.FAILED}),
    # a Job's peers go on for a while
    (("config-refused", "data-", "diverged"), {JobState.FAILED, JobState.RUNNING}),
    (("queue-stopping",), {JobState.RUNNING}),
    (("queue-unnamed",), {JobState.SUSPENDED}),
    (("queue-",), {JobState.QUEUED}),
    (("suspended",), {JobState.SUSPENDED, JobState.RUNNING}),
    (("running", "rank-silent"), {JobState.RUNNING}),
    (("node-lost", "restarting"), {JobState.RESTARTING}),
    (("quota-", "limit-range", "pod-", "insufficient-", "gang-", "node-selector", "untolerated-"),
     {JobState.SUBMITTED, JobState.SCHEDULING, JobState.RESTARTING}),
    (("image-name", "image-denied", "image-not-found", "registry-"), {JobState.PULLING}),
    (("config-map-", "secret-", "mount-", "sub-path-"), {JobState.STARTING, JobState.RESTARTING}),
)  # fmt: skip
"""States in which codes that begin so may be said; the first that fits counts."""


@cache
def explained(name: str) -> tuple[JobState, tuple[Verdict, ...]]:
    """Return the state of a case's job, and the verdicts."""
    snapshot = parse_snapshot(CASES[name]["snapshot"])
    return snapshot.status.state, explain(snapshot)


def judge(name: str, case: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the verdict on a case."""
    _, (first, *others) = explained(name)
    got = {
        "code": first.code, "sentence": first.sentence, "fix": first.fix, "resolves": first.resolves.value,
        "also": [other.code for other in others],
    }  # fmt: skip
    for key, expected in case["expected"].items():
        if got[key] != expected:
            yield f"{key}: expected {expected!r}, got {got[key]!r}"


def test_every_snapshot_gets_its_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {name: list(judge(name, case)) for name, case in CASES.items()}
    wrong = {name: faults for name, faults in wrong.items() if faults}
    recorded = [name for name, case in CASES.items() if case["recorded"]]
    with capsys.disabled():
        right = len(CASES) - len(wrong)
        print(f"\nwhy: {right} of {len(CASES)} snapshots right, {len(recorded)} of them recorded")  # noqa: T201
    assert wrong == {}
    assert len(CASES) >= 60
    assert len(recorded) >= 20
    assert all(CASES[name]["kubernetes"].startswith("v1.") for name in recorded)


def test_no_verdict_disagrees_with_the_state_of_the_job() -> None:
    for name in CASES:
        state, (first, *_) = explained(name)
        allowed = next((states for starts, states in STATES if first.code.startswith(starts)), None)
        assert allowed is None or state in allowed, (name, first.code, state)
        assert state not in ENDED or first.resolves is not Resolves.LATER, name


def test_every_verdict_says_what_can_be_done() -> None:
    for name in CASES:
        for verdict in explained(name)[1]:
            assert verdict.fix or verdict.resolves is Resolves.ITSELF, (name, verdict)
            assert "None" not in verdict.sentence + verdict.fix, (name, verdict)
            assert not verdict.sentence.endswith((":", " ")), (name, verdict)


def test_what_is_made_is_in_the_corpus_as_it_is_made() -> None:
    made = {name: (code, snapshot) for name, _, code, snapshot in situations()}
    kept = {
        name: (case["expected"]["code"], case["snapshot"])
        for name, case in CASES.items()
        if not case["recorded"]
    }
    assert kept == made, "python -m tests.launcher.why.write_corpus"


def test_nearly_every_code_has_a_case() -> None:
    met = {verdict.code for name in CASES for verdict in explained(name)[1]}
    assert set(CODES) - met - ELSEWHERE == set(), "expected a situation of each in tests/launcher/why/made.py"


ELSEWHERE = {
    "create-denied", "fewer-nodes", "image-absent", "fits-now", "lost", "kueue-missing", "queue-ignored",
}  # fmt: skip
"""Said before a submit, or of jobs that no cluster runs; tested where that is."""


def test_no_evidence_repeats_what_the_sentence_ends_with() -> None:
    for name in CASES:
        _, verdicts = explained(name)
        for verdict in verdicts:
            end = verdict.sentence[-40:]
            assert not any(line.endswith(end) for line in verdict.evidence), (name, verdict)
