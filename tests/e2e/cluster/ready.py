"""Does what takes minutes before the tests' clocks run: `python -m tests.e2e.cluster.ready`.

Builds the kit's binaries and the base of the trainer's image, each once; says so at once where no cluster is
named.
"""

from __future__ import annotations

import os
import sys
import time

from tests.e2e.cluster.access import NoClusterError, named_cluster
from tests.e2e.cluster.cache import cache_folder
from tests.e2e.cluster.image import build_base
from tests.e2e.cluster.kit import Kit


def main() -> None:
    try:
        named = named_cluster(dict(os.environ))
    except NoClusterError as error:
        sys.exit(f"e2e-cluster: {error}")
    if isinstance(named, Kit):
        started_s = time.monotonic()
        named.prepare(cache_folder())
        base = build_base(cache_folder())
        took_s = time.monotonic() - started_s
        sys.stdout.write(f"e2e-cluster: {base.path} and the kit ready in {took_s:.0f} s\n")


if __name__ == "__main__":
    main()
