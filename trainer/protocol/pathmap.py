"""Maps container paths to paths of this machine, for the local backend, which has no mount namespace."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field

from trainer.protocol.codec import read
from trainer.protocol.environment import WORKSPACE
from trainer.protocol.untrusted import FormatError, parse_object


@dataclass(frozen=True, slots=True)
class PathMap:
    """Prefixes of container paths and what stands for them here. Empty inside a container.

    Attributes:
        prefixes: Absolute path in the pod -> path of this machine.
        counts_relative: Map relative paths that lie under no volume too: the working directory of this
            process is not the job's.
    """

    prefixes: Mapping[str, str] = field(default_factory=dict)
    counts_relative: bool = False

    def apply(self, path: str) -> str:
        """Map one path; the longest prefix wins, and a path under none is returned as it is.

        A relative path counts from the pod's working directory, where a volume may be mounted too; what lies
        under no volume there is left relative, to the working directory of this process.
        """
        normal = posixpath.normpath(posixpath.join(WORKSPACE, path))
        for prefix in sorted(self.prefixes, key=len, reverse=True):
            if normal == prefix or normal.startswith(prefix.rstrip("/") + "/"):
                if prefix == WORKSPACE and not path.startswith("/") and not self.counts_relative:
                    return path
                rest = normal[len(prefix.rstrip("/")) :].lstrip("/")
                return posixpath.join(self.prefixes[prefix], rest) if rest else self.prefixes[prefix]
        return path


def parse_path_map(text: str | None) -> PathMap:
    """Read the value of `FTL_PATH_MAP`; None gives the empty map.

    Raises:
        FormatError: It is not a JSON object of absolute paths.
    """
    if text is None:
        return PathMap()
    document = parse_object(text, where="FTL_PATH_MAP")
    prefixes = read(dict[str, str], document, where="FTL_PATH_MAP")
    for key, value in prefixes.items():
        if not key.startswith("/") or not value.startswith("/"):
            raise FormatError(where="FTL_PATH_MAP", expected="absolute paths", got=f"{key!r}: {value!r}")
    return PathMap({posixpath.normpath(key): value for key, value in prefixes.items()})


def format_path_map(path_map: PathMap) -> str:
    """Write the value of `FTL_PATH_MAP`."""
    return json.dumps(dict(path_map.prefixes), sort_keys=True)
