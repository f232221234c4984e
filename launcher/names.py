"""Names and ids of jobs. Pure but for `new_run_id`, which draws the 128 random bits of a run id."""

from __future__ import annotations

import os
import re
import unicodedata

RUN_ID_LABEL = "ftlaunch.io/run-id"
MAX_PREFIX = 40
MAX_JOB_NAME = 52  # pods and services are `<job>-worker-<i>` with up to 4 digits, at most 63 characters

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_RUN_ID = re.compile(r"[0-9a-f]{32}")
_LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


def new_run_id() -> str:
    """Draw a run id: 128 random bits as 32 hexadecimal digits."""
    return os.urandom(16).hex()


def is_run_id(text: str) -> bool:
    """Say whether `text` has the form of a run id."""
    return _RUN_ID.fullmatch(text) is not None


def is_dns_label(text: str) -> bool:
    """Say whether `text` is a DNS-1035 label of at most `MAX_JOB_NAME` characters."""
    return len(text) <= MAX_JOB_NAME and _LABEL.fullmatch(text) is not None


def to_dns_label(text: str, *, fallback: str = "run") -> str:
    """Make a DNS-1035 label of at most `MAX_PREFIX` characters from any text.

    Args:
        text: Such as a file's stem: `ResNet50_vd` gives `resnet50-vd`.
        fallback: What is returned where nothing usable is left.
    """
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    label = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    label = re.sub(r"^[^a-z]+", "", label)[:MAX_PREFIX].rstrip("-")
    return label or fallback


def job_name(prefix: str, *, run_id: str) -> str:
    """Return `<prefix, cut to 40>-<5 base32 characters of the run id>`.

    Args:
        prefix: A DNS-1035 label.
        run_id: 32 hexadecimal digits.
    """
    bits = int(run_id, 16) >> (128 - 25)
    suffix = "".join(_BASE32[bits >> shift & 31] for shift in (20, 15, 10, 5, 0))
    return f"{prefix[:MAX_PREFIX].rstrip('-')}-{suffix}"
