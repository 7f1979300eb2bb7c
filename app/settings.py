"""The service's settings, read from environment variables that begin with `FASHION_`."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from app.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "FASHION_"
OF_THE_CLIENT = {PREFIX + "URL", PREFIX + "API_KEY"}
"""Variables of `app.client`: not settings of the service, but not mistakes among them either."""

FRAMING_BYTES = 64 * 1024
"""What boundaries and part headers may add to a multipart body with one picture."""

_ORIGIN = r"https?://[^/?#,\s]+"
_SERVICE_LINK = re.compile(r"_SERVICE_(HOST|PORT(_\w+)?)$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")
Count = Annotated[int, Field(ge=1)]


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _require_path(path: object) -> object:
    """Refuse an empty path, which would be that of the current folder."""
    if path == "":
        msg = "the path of a file or folder"
        raise ValueError(msg)
    return path


def _as_sent(origins: str) -> str:
    """Write origins as browsers send them: in small letters, without the usual port and a slash at the end."""
    origins = re.sub(r"(?<=[^/])/(?=\s*(,|$))", "", origins.lower())
    for scheme, port in (("http", 80), ("https", 443)):
        origins = re.sub(rf"({scheme}://[^\s,]+):{port}(?=\s*(,|$))", r"\1", origins)
    return origins


class Settings(BaseModel):
    """How the service runs; the table in docs/operating.md uses these descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on.")
    workers: Annotated[Count | Literal["auto"], BeforeValidator(_lower)] = Field(
        default=1, description="Processes, each with its own model; `auto` starts one per core."
    )
    threads: Count | None = Field(
        default=None, description="Cores a forward pass may use; by default the cores divided by the workers."
    )
    model_dir: Annotated[Path, BeforeValidator(_require_path)] = Field(
        default=Path("models/fashion-mnist/1"), description="Folder of the artifact to serve."
    )
    coverage: float = Field(
        default=0.95,
        gt=0,
        lt=1,
        description="How often `prediction_set` should contain the right label: 0.9, 0.95 or 0.99.",
    )
    max_body_bytes: Count = Field(default=10 * 2**20, description="Largest picture.")
    max_batch_files: Count = Field(default=64, description="Most pictures in one `/predict/batch`.")
    max_batch_bytes: Count = Field(default=64 * 2**20, description="Largest body of `/predict/batch`.")
    max_image_pixels: Count = Field(default=50_000_000, description="Most pixels in a picture, read from its header.")
    max_pending_images: Count = Field(
        default=72, description="Most pictures in work in a worker; further requests are refused with 503."
    )
    max_forward_images: Count = Field(default=32, description="Most pictures in one forward pass.")
    max_queue_seconds: float = Field(
        default=5.0, gt=0, description="Seconds of work that may wait ahead of a picture; more is refused with 503."
    )
    max_pending_bytes: Count = Field(
        default=256 * 2**20, description="Most body bytes a worker holds at a time; more are refused with 503."
    )
    max_connections: Count = Field(default=1000, description="Most connections open to a worker at a time.")
    receive_seconds: float = Field(
        default=20.0, gt=0, description="How long a body may take to arrive, after which the answer is 413."
    )
    request_timeout_seconds: float = Field(
        default=30.0, gt=0, description="Deadline of a request, including the time it takes to arrive."
    )
    keep_alive_seconds: Count = Field(
        default=75, description="How long an idle connection is kept open; proxies keep theirs for 60."
    )
    drain_seconds: float = Field(
        default=5.0, ge=0, description="How long it keeps serving after SIGTERM, not ready, until proxies have noticed."
    )
    shutdown_seconds: Count = Field(default=20, description="How long requests in flight may take after that.")
    api_keys_file: Annotated[Path | None, BeforeValidator(_require_path)] = Field(
        default=None, description="File of hashed keys; each call then needs a key, which `python -m app key` makes."
    )
    cors_origins: Annotated[str, BeforeValidator(_as_sent)] = Field(
        default="",
        pattern=rf"^(\*|{_ORIGIN}(\s*,\s*{_ORIGIN})*)?$",
        description="Other sites whose pages may call it: `https://a.example, https://b.example`, or `*` for all.",
    )
    log_format: Annotated[Literal["console", "json"], BeforeValidator(_lower)] = Field(
        default="console", description="One line per event, for people (`console`) or machines (`json`)."
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = Field(
        default="info", description="Lowest level that is logged: `debug`, `info`, `warning` or `error`."
    )


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings, refusing a variable that is misspelt or has a bad value.

    Args:
        environment: Variables by name.

    Raises:
        StartError: A variable with the prefix is unknown, or a value is invalid, alone or together with others.
    """
    fields = {
        name: name[len(PREFIX) :].lower()
        for name, value in environment.items()
        if name.upper().startswith(PREFIX) and name not in OF_THE_CLIENT and not _is_service_link(name, value)
    }
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    if unknown := sorted(fields.keys() - known):
        meant = get_close_matches(fields[unknown[0]], Settings.model_fields, 1) or Settings.model_fields
        expected = " or ".join(PREFIX + field.upper() for field in meant)
        msg = f"{unknown[0]}: expected {expected}, found an unknown setting"
        raise StartError(msg)
    try:
        settings = Settings.model_validate({field: environment[name] for name, field in fields.items()})
    except ValidationError as error:
        first = error.errors()[0]
        variable = PREFIX + str(first["loc"][0]).upper()
        msg = f"{variable}: expected {_expected(error)}, found {first['input']!r}"
        raise StartError(msg) from error
    # Twice, since each piece of a body counts for more than its bytes (`app.http.uploads`).
    needed = 2 * (max(settings.max_body_bytes, settings.max_batch_bytes) + FRAMING_BYTES)
    if settings.max_pending_bytes < needed:
        msg = f"{PREFIX}MAX_PENDING_BYTES: expected at least {needed}, twice the largest body that is allowed, found "
        msg += f"{settings.max_pending_bytes}: such a body would find no room"
        raise StartError(msg)
    return settings


def _expected(error: ValidationError) -> str:
    """Say what the first bad value was expected to be, without what pydantic found."""
    first, *others = error.errors()
    if first["type"] == "string_pattern_mismatch":
        return "origins such as https://a.example, with commas between them, or *"
    alternatives = [first, *(other for other in others if other["loc"][0] == first["loc"][0])]
    told = [
        re.sub("^(Input should be|Value error,) ", "", one["msg"]).partition(", unable to")[0] for one in alternatives
    ]
    return f"a value that is {' or '.join(told)}" if first["msg"].startswith("Input") else told[0]


def _is_service_link(name: str, value: str) -> bool:
    """Tell whether a variable exists only because a Service in the same Kubernetes namespace is named `fashion...`.

    Source:
        Kubernetes, "Discovering services": `..._SERVICE_HOST`, `..._PORT=tcp://...` and others, in every container.
    """
    return bool(_SERVICE_LINK.search(name)) or value.startswith(("tcp://", "udp://", "sctp://"))
