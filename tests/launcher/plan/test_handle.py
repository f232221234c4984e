from __future__ import annotations

import pytest

from launcher.errors import UsageError
from launcher.plan.handle import parse_handle


@pytest.mark.parametrize(
    "text", ["kubernetes://ml/flowers-abcde", "docker:///flowers-abcde", "local:///flowers"]
)
def test_a_handle_reads_back_as_it_was_written(text):
    assert str(parse_handle(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "flowers",
        "local://flowers",
        "local://ml/flowers",
        "kubernetes:///flowers",
        "slurm:///x",
        "local:///",
        "local:///A",
    ],
)
def test_what_is_no_handle_is_refused(text):
    with pytest.raises(UsageError, match="handle: expected kubernetes://NAMESPACE/JOB"):
        parse_handle(text)
