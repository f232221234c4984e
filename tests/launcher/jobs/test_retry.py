from __future__ import annotations

import pytest

from launcher.jobs.notes import Note
from launcher.jobs.retry import Retry
from launcher.kube.errors import DeniedError, NoAnswerError


class Cluster:
    """Silent for some of the clock's seconds, then without its roles for some."""

    def __init__(self, *, silent_s: float, refuses_s: float = 0.0) -> None:
        self.now_s, self.silent_s, self.refuses_s = 0.0, silent_s, refuses_s
        self.notes: list[Note] = []

    def answer(self) -> str:
        if self.now_s < self.silent_s:
            raise NoAnswerError("silence")
        if self.now_s < self.silent_s + self.refuses_s:
            raise DeniedError("no role yet")
        return "answer"

    def pause(self, seconds: float) -> None:
        self.now_s += seconds

    def retry(self, *, limit_s: float = 60.0, until_s: float | None = None) -> Retry:
        return Retry(
            "flowers",
            self.notes.append,
            limit_s=limit_s,
            until_s=until_s,
            now=lambda: self.now_s,
            pause=self.pause,
        )


def test_a_silence_is_told_once_and_so_is_its_end(capsys):
    cluster = Cluster(silent_s=30)
    retry = cluster.retry()
    assert (retry.ask(cluster.answer), retry.ask(cluster.answer)) == ("answer", "answer")
    assert [str(note) for note in cluster.notes] == [
        "flowers: no answer, asking on (the job is not touched by that): silence",
        "flowers: answers again after 30 s",
    ]
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("limit_s", "until_s", "ends_s"), [(10, None, 10), (60, 4, 4), (6, 100, 6)])
def test_it_ends_with_the_limit_or_the_commands_own_time(limit_s, until_s, ends_s):
    cluster = Cluster(silent_s=1000)
    with pytest.raises(NoAnswerError):
        cluster.retry(limit_s=limit_s, until_s=until_s).ask(cluster.answer)
    assert cluster.now_s == ends_s


def test_what_was_answered_before_does_not_count():
    cluster = Cluster(silent_s=8)
    retry = cluster.retry(limit_s=10)
    retry.ask(cluster.answer)
    cluster.silent_s = cluster.now_s + 8
    assert retry.ask(cluster.answer) == "answer"


def test_a_cluster_that_has_just_come_back_may_refuse_for_a_moment():
    cluster = Cluster(silent_s=8, refuses_s=20)
    assert cluster.retry().ask(cluster.answer) == "answer"
    cluster = Cluster(silent_s=8, refuses_s=200)
    with pytest.raises(DeniedError):
        cluster.retry().ask(cluster.answer)
    assert cluster.now_s == 38


def test_a_refusal_comes_through_at_once():
    def refuse() -> str:
        raise DeniedError("no")

    with pytest.raises(DeniedError):
        Cluster(silent_s=0).retry().ask(refuse)
