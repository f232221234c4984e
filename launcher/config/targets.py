"""What can be said of a target of `Launch.track` before its tracker is there: the image may have others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from launcher.config.confidential import is_secret_name, is_secret_value
from trainer.config.problems import get_near
from trainer.protocol.tracking import BUILT_IN, CREDENTIALS, MODES, SETTINGS, TRACKERS_GROUP, Target

_NAME = re.compile(r"[A-Za-z_][\w.-]*(:[A-Za-z_][\w.]*)?", re.ASCII)
_URI_VARIABLE = "MLFLOW_TRACKING_URI"


def _is_installed(name: str) -> bool:
    """Say whether a package of this machine brings a tracker of a name that is near to one of ours."""
    from importlib import metadata

    return ":" in name or any(entry.name == name for entry in metadata.entry_points(group=TRACKERS_GROUP))


def as_text(value: str | bool | int | float) -> str:
    """Write a setting as trackers get it: `true`, `0.5`, `flowers`."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_target(target: Target, *, mounts: Collection[str], variables: Collection[str]) -> Iterator[str]:
    """Yield what is wrong with a target.

    Args:
        target: What was asked for.
        mounts: Of the job's secrets.
        variables: Names of the job's variables.
    """
    name, settings = target.tracker, target.settings
    if len(name) > 63 or _NAME.fullmatch(name) is None:
        known = ", ".join(BUILT_IN)
        yield f"expected the name of a tracker, such as {known}, or module:Class, got {name!r}"
        return
    if name not in BUILT_IN and (near := get_near(name, BUILT_IN)) is not None and not _is_installed(name):
        known = ", ".join(BUILT_IN)
        yield f"expected one of {known}, or another package's, got {name!r}; did you mean {near!r}?"
        return
    known_settings = SETTINGS.get(name)
    for key, value in settings.items():
        if known_settings is not None and key not in known_settings:
            yield f"{name}: expected settings of {', '.join(known_settings)}, got {key!r}"
        elif key != CREDENTIALS and (is_secret_name(key) or is_secret_value(value)):
            yield f"{name}: expected no secret in a config, got {key!r}; use `{CREDENTIALS}: /secrets/…`"
    modes, mode = MODES.get(name, ()), settings.get("mode")
    if modes and mode and mode not in modes:
        yield f"{name}: expected mode to be one of {', '.join(modes)}, got {mode!r:.80}"
    credentials = settings.get(CREDENTIALS)
    if credentials is not None and credentials not in mounts:
        known = f"one of {', '.join(mounts)}" if mounts else "a mount of `secrets`, of which there are none"
        yield f"{name}: expected {CREDENTIALS} to be {known}, got {credentials!r}"
    if name == "mlflow" and not settings.get("uri") and _URI_VARIABLE not in variables:
        yield f"{name}: expected uri, the address of a server, or {_URI_VARIABLE} in env, got none"
