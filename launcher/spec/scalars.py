"""Single values of the `Launch` section: durations, quantities, names, paths."""

from __future__ import annotations

import posixpath
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema

from launcher.spec.confidential import is_secret_name, is_secret_value, secrets_line

# patterns that are compiled when they are first asked
_DURATION = r"([0-9]+(?:\.[0-9]+)?)(s|m|h|d)"
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_QUANTITY = r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?"
_MAX_PROCS = 512
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_LABEL_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_LABEL_KEY = r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_UNPRINTABLE = "[\x00-\x1f\x7f\ud800-\udfff]"  # half a surrogate pair is no character
_ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_IMAGE = r"[A-Za-z0-9][A-Za-z0-9./:@_-]*"
_DATA_KEY = r"[-._a-zA-Z0-9]{1,253}"
_OUR_ENV = r"(FTL|PADDLE)_.*|FLAGS_selected_gpus|HOME|TMPDIR|PYTHONUNBUFFERED"


def parse_duration(value: Any) -> Any:  # whatever YAML gave
    """Read `90s`, `10m`, `24h` or `7d` as seconds.

    Raises:
        ValueError: It is text of another form, or a number, whose unit nobody knows.
    """
    match = re.fullmatch(_DURATION, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a duration such as 90s, 10m, 24h or 7d, got {value!r}")
    return float(match[1]) * _SECONDS[match[2]]


def _quantity(value: Any) -> Any:  # whatever YAML gave
    text = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not re.fullmatch(_QUANTITY, text):
        raise ValueError(f"expected a quantity such as 4, 500m or 64Gi, got {value!r}")
    return text


def _object_name(value: str) -> str:
    if len(value) > 253 or not re.fullmatch(_SUBDOMAIN, value):
        raise ValueError(
            f"expected the name of an object (lower-case letters, digits, '-' and '.'), got {value!r}"
        )
    return value


def _label_value(value: str) -> str:
    if len(value) > 63 or not re.fullmatch(_LABEL_VALUE, value):
        raise ValueError(f"expected a label of at most 63 letters, digits, '-', '_' and '.', got {value!r}")
    return value


def _label_key(value: str) -> str:
    if not re.fullmatch(_LABEL_KEY, value) or len(value.rpartition("/")[2]) > 63:
        raise ValueError(f"expected a label's name such as team or example.com/team, got {value!r}")
    if value.partition("/")[0] in ("ftlaunch.io", "training.kubeflow.org") or value.startswith(
        "app.kubernetes.io/"
    ):
        raise ValueError(f"expected a name of your own, got {value!r}, which ftlaunch or the operator sets")
    return value


def _image(value: str) -> str:
    if not re.fullmatch(_IMAGE, value):
        raise ValueError(f"expected an image such as registry.example/trainer:1.0, got {value!r}")
    return value


def _secret_key(value: str) -> str:
    if not re.fullmatch(_DATA_KEY, value):
        raise ValueError(f"expected a key of letters, digits, '-', '_' and '.', got {value!r}")
    return value


def _sub_path(value: str) -> str:
    if not value or value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"expected a path inside the volume, got {value!r}")
    return value


def _mount_path(value: str) -> str:
    _plain(value)
    if not re.match("/[^/]", value) or posixpath.normpath(value) != value or ":" in value:
        raise ValueError(f"expected an absolute path without '..', '//' and ':', got {value!r}")
    return value


def _plain(value: str) -> str:
    if re.search(_UNPRINTABLE, value):
        raise ValueError(f"expected text without control characters, got {value!r}")
    return value


def _env_name(value: str) -> str:
    if not re.fullmatch(_ENV_NAME, value):
        raise ValueError(f"expected a name of letters, digits and '_', got {value!r}")
    if re.fullmatch(_OUR_ENV, value):
        raise ValueError(f"expected a variable of your own, got {value}, which ftlaunch or the operator sets")
    if is_secret_name(value):
        raise ValueError(
            f"expected no secret in a config, which anyone can read who may read ConfigMaps; write "
            f"`{secrets_line(value)}` and read the file"
        )
    return value


def _env_value(value: str) -> str:
    if is_secret_value(value):
        raise ValueError(
            f"expected no credentials in a config; write `{secrets_line('credentials')}` instead"
        )
    return value


def _extra_module(value: str) -> str:
    _plain(value)
    path = "/" in value or value.endswith(".py")
    if ".." in value.split("/") or not (path or all(part.isidentifier() for part in value.split("."))):
        raise ValueError(
            f"expected a file such as /code/my_ops.py, a package's folder or a module's name, got {value!r}"
        )
    return value


def _procs(value: object) -> object:
    if value == "auto" or (type(value) is int and 1 <= value <= _MAX_PROCS):
        return value
    raise ValueError(f"expected auto or a number from 1 to {_MAX_PROCS}, got {value!r}")


_PROCS_SCHEMA = {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": _MAX_PROCS}]}
_DURATION_SCHEMA = {"type": "string", "pattern": f"^{_DURATION}$"}
_QUANTITY_SCHEMA = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": f"^{_QUANTITY}$"}]}

Duration = Annotated[float, BeforeValidator(parse_duration), WithJsonSchema(_DURATION_SCHEMA)]
"""Seconds, written with a unit."""
Quantity = Annotated[str, BeforeValidator(_quantity), WithJsonSchema(_QUANTITY_SCHEMA)]
"""A Kubernetes quantity, as text."""
ObjectName = Annotated[str, AfterValidator(_object_name)]
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
MountPath = Annotated[str, AfterValidator(_mount_path)]
PlainText = Annotated[str, AfterValidator(_plain)]
Image = Annotated[str, AfterValidator(_image)]
ExtraModule = Annotated[str, AfterValidator(_extra_module)]
"""A file or folder in the pod, or the name of a module that is installed there."""
SecretKey = Annotated[str, AfterValidator(_secret_key)]
SubPath = Annotated[PlainText, AfterValidator(_sub_path)]
EnvName = Annotated[str, AfterValidator(_env_name)]
EnvValue = Annotated[PlainText, AfterValidator(_env_value)]
Procs = Annotated[int | Literal["auto"], PlainValidator(_procs), WithJsonSchema(_PROCS_SCHEMA)]
"""Ranks a node, or auto."""
