"""What a cluster finds wrong with a job, said at the place in the config that it comes from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from launcher.cli.prepare import Prepared
from launcher.errors import UsageError
from launcher.kube.errors import InvalidError


@contextmanager
def blaming_the_config(prepared: Prepared) -> Iterator[None]:
    """Say where in the config a refusal comes from, where that can be said of any part of it.

    Raises:
        UsageError: Instead of the refusal.
    """
    try:
        yield
    except InvalidError as refusal:
        from launcher.plan.error_source import find_key, to_problem

        keys = [find_key(cause.field, prepared.manifest.job, prepared.config) for cause in refusal.causes]
        if not any(keys):
            raise
        problems = [
            to_problem(cause.field, cause.message, key=key, config=prepared.config)
            for cause, key in zip(refusal.causes, keys, strict=True)
        ]
        said = refusal.issue
        raise UsageError(
            where=said.where, expected=said.expected, got=said.got, fix="mend:", problems=problems
        ) from refusal
