"""The supervisor of a job in Docker, detached from what started it.

python -m launcher.backends.docker.supervisor RUN_FOLDER
"""

from __future__ import annotations

import sys

from launcher.backends.docker.kubelet import DockerKubelet
from launcher.backends.replicas import expand_by_name
from launcher.backends.supervised.daemonize import daemonize

if __name__ == "__main__":
    sys.exit(daemonize(sys.argv[1], kind="docker", expand=expand_by_name, make_kubelet=DockerKubelet))
