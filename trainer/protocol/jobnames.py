"""How jobs, and runs without a job, are named."""

from __future__ import annotations

import re
import unicodedata

MAX_PREFIX = 40

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"


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
