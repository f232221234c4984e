"""Removing the pods of a large job by force."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from launcher.backends.kubernetes.delete import remove_at_once
from launcher.kube.errors import AbsentError, ConflictError, DeniedError
from launcher.objects import PODS


class Deletions:
    """Ends pods; each second one waits for the next, which has to come before it is answered."""

    def __init__(self, failures: dict[str, Exception], *, pairs: bool) -> None:
        self.failures, self.ended = failures, []
        self._pair = threading.Barrier(2) if pairs else None

    def delete(self, resource: Any, name: str, *, namespace: str, uid: str, at_once: bool) -> None:
        assert (resource, namespace, at_once) == (PODS, "ml", True)
        if self._pair is not None:
            self._pair.wait(timeout=20.0)
        if name in self.failures:
            raise self.failures[name]
        self.ended.append((name, uid))


def pods(number: int) -> list[dict[str, Any]]:
    return [{"metadata": {"name": f"w-{index}", "uid": f"uid-{index}"}} for index in range(number)]


@pytest.mark.parametrize(("number", "pairs"), [(3, False), (40, True)], ids=["few", "many, side by side"])
def test_all_are_removed_but_those_that_are_gone_or_made_again(number: int, pairs: bool) -> None:
    api = Deletions({"w-1": AbsentError("gone"), "w-2": ConflictError("another")}, pairs=pairs)
    remove_at_once(api, pods(number), namespace="ml")
    wanted = {(f"w-{index}", f"uid-{index}") for index in range(number) if index not in (1, 2)}
    assert set(api.ended) == wanted
    assert len(api.ended) == len(wanted)


@pytest.mark.parametrize("number", [3, 40])
def test_a_refusal_is_told(number: int) -> None:
    with pytest.raises(DeniedError):
        remove_at_once(Deletions({"w-2": DeniedError("no")}, pairs=False), pods(number), namespace="ml")
