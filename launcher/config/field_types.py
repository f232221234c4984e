"""Single values of the `Launch` section: durations, quantities, names, paths."""

from __future__ import annotations

import posixpath
import re
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WithJsonSchema

from launcher.config.image_reference import check_image
from launcher.quantity import QUANTITY, read_quantity
from launcher.times import DURATION, parse_duration

# patterns that are compiled when they are first asked
_MAX_DURATION_S = 2**31 - 1  # ttlSecondsAfterFinished is an int32
_MAX_CORES = 65536
_MIN_BYTES = 2**20
_MAX_QUANTITY = 2**63 - 1  # apimachinery keeps no larger one
_MAX_PROCS = 512
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_DNS_LABEL}(\.{_DNS_LABEL})*"
_LABEL_VALUE = r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
_LABEL_KEY = rf"({_SUBDOMAIN}/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_UNPRINTABLE = "[\x00-\x1f\x7f\ud800-\udfff]"  # half a surrogate pair is no character
_ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DATA_KEY = r"[-._a-zA-Z0-9]{1,253}"
_STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage", "storage", "pods")
_OUR_ENV = r"(FTL|PADDLE)_.*|FLAGS_selected_gpus|HOME|TMPDIR|PYTHONUNBUFFERED"


def _setting(value: Any) -> Any:  # whatever YAML gave
    """Read a duration of the config, which has no meaning below a second: Kubernetes counts whole ones."""
    seconds = parse_duration(value) if isinstance(value, str) else None
    if seconds is None:
        raise ValueError(f"expected a duration such as 90s, 10m, 24h or 7d, got {value!r:.80}")
    if not 1 <= seconds <= _MAX_DURATION_S:
        raise ValueError(
            f"expected a duration from 1s to {_MAX_DURATION_S // 86400}d, got {value!r:.80}; "
            "what can be switched off is so with null"
        )
    return seconds


def _quantity(value: Any, *, example: str) -> tuple[str, Decimal]:
    """Return an amount as Kubernetes has it, as text and as a number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{Decimal(str(value)):f}" if number else value if isinstance(value, str) else ""
    try:
        return text, read_quantity(text)
    except (ValueError, ArithmeticError):
        raise ValueError(f"expected {example}, got {value!r:.80}{_unit_of(value)}") from None


def _unit_of(value: object) -> str:
    """Say how people's units are written, such as `64GB`."""
    match = re.fullmatch(r"([0-9.]+) ?([kmgt])i?b?", str(value), re.IGNORECASE)
    return f"; write {match[1]}{match[2].upper()}i" if match else ""


def _cores(value: Any) -> Any:  # whatever YAML gave
    example = "cores such as 4, 0.5 or 500m"
    text, amount = _quantity(value, example=example)
    if not 0 < amount <= _MAX_CORES:
        raise ValueError(f"expected {example}, more than 0 and at most {_MAX_CORES}, got {value!r:.80}")
    if amount * 1000 != int(amount * 1000):
        raise ValueError(f"expected {example}, in thousandths of a core at the finest, got {value!r:.80}")
    return text


def _bytes(value: Any) -> Any:  # whatever YAML gave
    example = "bytes with a unit such as 512Mi, 8Gi or 16G"
    text, amount = _quantity(value, example=example)
    if amount > _MAX_QUANTITY:
        raise ValueError(f"expected {example}, at most 8Ei, got {value!r:.80}")
    if amount < _MIN_BYTES:
        fix = ""
        if re.fullmatch(r"[0-9.]+m", text) and amount > 0:
            fix = f"; m is a thousandth of a byte, write {text[:-1]}Mi"
        elif re.fullmatch(r"[0-9.]+", text) and amount > 0:
            fix = f"; without a unit it counts bytes, write {text}Mi or {text}Gi"
        raise ValueError(f"expected {example}, at least 1Mi, got {value!r:.80}{fix}")
    return text


def _object_name(value: str) -> str:
    if len(value) > 253 or not re.fullmatch(_SUBDOMAIN, value):
        raise ValueError(
            f"expected the name of an object (lower-case letters, digits, '-' and '.'), got {value!r}"
        )
    return value


def _namespace(value: str) -> str:
    if len(value) > 63 or not re.fullmatch(_DNS_LABEL, value):
        raise ValueError(
            f"expected a namespace of at most 63 lower-case letters, digits and '-', got {value!r:.80}"
        )
    return value


def _resource_name(value: str) -> str:
    _label_key(value)
    domain = value.rpartition("/")[0]
    if domain.endswith("kubernetes.io") or value.startswith("requests.") or value in _STANDARD_RESOURCES:
        raise ValueError(f"expected an extended resource such as nvidia.com/gpu, got {value!r:.80}")
    return value


def _toleration_key(value: str) -> str:
    if not re.fullmatch(_LABEL_KEY, value) or len(value.rpartition("/")[2]) > 63:
        raise ValueError(f"expected a taint's name such as nvidia.com/gpu, got {value!r:.80}")
    return value


def _label_value(value: str) -> str:
    if len(value) > 63 or not re.fullmatch(_LABEL_VALUE, value):
        raise ValueError(f"expected a label of at most 63 letters, digits, '-', '_' and '.', got {value!r}")
    return value


def _label_key(value: str) -> str:
    prefix, _, name = value.rpartition("/")
    if not re.fullmatch(_LABEL_KEY, value) or len(name) > 63 or len(prefix) > 253:
        raise ValueError(f"expected a label's name such as team or example.com/team, got {value!r:.80}")
    if value.partition("/")[0] in ("ftlaunch.io", "training.kubeflow.org") or value.startswith(
        "app.kubernetes.io/"
    ):
        raise ValueError(f"expected a name of your own, got {value!r}, which ftlaunch or the operator sets")
    return value


def _secret_key(value: str) -> str:
    if not re.fullmatch(_DATA_KEY, value) or value == "." or value.startswith(".."):
        raise ValueError(f"expected a key of letters, digits, '-', '_' and '.', got {value!r}")
    return value


def _sub_path(value: str) -> str:
    if not value or value.startswith("/") or ".." in value.split("/"):
        raise ValueError(f"expected a path inside the volume, got {value!r}")
    return value


def _mount_path(value: str) -> str:
    _plain(value)
    bare = value.rstrip("/")
    if bare and value != bare and bare == posixpath.normpath(bare):
        raise ValueError(f"expected a path without '/' at its end, got {value!r:.200}; write {bare!r:.200}")
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
    return value


def _extra_module(value: str) -> str:
    _plain(value)
    path = "/" in value or value.endswith(".py")
    if ".." in value.split("/") or not (path or all(part.isidentifier() for part in value.split("."))):
        raise ValueError(
            f"expected a file such as /code/my_ops.py, a package's folder or a module's name, got {value!r}"
        )
    return value


def _percent(value: object) -> float:
    """Read `10%` as a share; a bare number is not clear: 0.5 may be a half or half a percent."""
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]+)?) ?%", value) if isinstance(value, str) else None
    if match is None or not 0 < float(match[1]) <= 100:
        raise ValueError(f"expected a share such as 10%, above 0% and at most 100%, got {value!r:.80}")
    return float(match[1]) / 100


def _procs(value: object) -> object:
    if value == "auto" or (type(value) is int and 1 <= value <= _MAX_PROCS):
        return value
    raise ValueError(f"expected auto or a number from 1 to {_MAX_PROCS}, got {value!r}")


_PROCS_SCHEMA = {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 1, "maximum": _MAX_PROCS}]}
_DURATION_SCHEMA = {"type": "string", "pattern": f"^{DURATION}$"}
_PERCENT_SCHEMA = {"type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]+)? ?%$"}
_QUANTITY_SCHEMA = {
    "anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string", "pattern": f"^{QUANTITY}$"}]
}

Duration = Annotated[float, BeforeValidator(_setting), WithJsonSchema(_DURATION_SCHEMA)]
"""Seconds, from 1; written with a unit."""
Cores = Annotated[str, BeforeValidator(_cores), WithJsonSchema(_QUANTITY_SCHEMA)]
"""A Kubernetes quantity of CPUs, as text."""
Bytes = Annotated[str, BeforeValidator(_bytes), WithJsonSchema(_QUANTITY_SCHEMA)]
"""A Kubernetes quantity of bytes, from 1Mi, as text."""
ObjectName = Annotated[str, AfterValidator(_object_name)]
Namespace = Annotated[str, AfterValidator(_namespace)]
LabelKey = Annotated[str, AfterValidator(_label_key)]
LabelValue = Annotated[str, AfterValidator(_label_value)]
MountPath = Annotated[str, AfterValidator(_mount_path)]
ResourceName = Annotated[str, AfterValidator(_resource_name)]
TaintKey = Annotated[str, AfterValidator(_toleration_key)]
PlainText = Annotated[str, AfterValidator(_plain)]
Image = Annotated[str, AfterValidator(check_image)]
ExtraModule = Annotated[str, AfterValidator(_extra_module)]
"""A file or folder in the pod, or the name of a module that is installed there."""
SecretKey = Annotated[str, AfterValidator(_secret_key)]
SubPath = Annotated[PlainText, AfterValidator(_sub_path)]
EnvName = Annotated[str, AfterValidator(_env_name)]
Percent = Annotated[float, BeforeValidator(_percent), WithJsonSchema(_PERCENT_SCHEMA)]
"""A share from 0 to 1; written as `10%`."""
Procs = Annotated[int | Literal["auto"], PlainValidator(_procs), WithJsonSchema(_PROCS_SCHEMA)]
"""Ranks a node, or auto."""
