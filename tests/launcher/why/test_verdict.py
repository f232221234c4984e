"""What stands in a verdict's evidence beside its sentence."""

from __future__ import annotations

import pytest

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
