"""The supervisor of a local job, detached from what started it. When it is killed, its pods die with it.

python -m launcher.backends.local.supervisor RUN_FOLDER
"""

from __future__ import annotations

import sys

from launcher.backends.local.kubelet import LocalKubelet
from launcher.backends.replicas import expand
from launcher.backends.supervised.daemonize import daemonize

if __name__ == "__main__":
    sys.exit(daemonize(sys.argv[1], kind="local", expand=expand, make_kubelet=LocalKubelet))
