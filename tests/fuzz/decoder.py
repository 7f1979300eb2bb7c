"""Searches for bytes that break the decoder, guided by coverage; needs atheris, which `make test-fuzz` installs.

`python -m tests.fuzz.decoder --seconds 120` starts from intact files and the corpus of earlier runs. It ends with the
traceback of the first error that is not a refusal, or when the time is over. Coverage is that of `app.imaging` and of
Pillow's Python code; the C libraries behind them are exercised, but not measured.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["app.imaging", "PIL"]):
    from PIL import Image

    from app.imaging.conversion import Mode, convert
    from app.imaging.decode import FORMATS, RAW_MEDIA_TYPE, decode

    Image.init()  # imports the decoders here, not outside with the first file

from app.errors import ServiceError
from tests.fuzz.files import intact_files

MAX_IMAGE_PIXELS = 10**6
MAX_FILE_BYTES = 8192
MAX_SECONDS_A_FILE = 10
MAX_MEGABYTES = 2048
MODES = tuple(Mode)


def decode_and_convert(data: bytes) -> None:
    """Process bytes as the service does; the result must be a refusal or an image for the model."""
    try:
        decoded = decode(data, RAW_MEDIA_TYPE, MAX_IMAGE_PIXELS)
    except ServiceError:
        return
    image = convert(decoded.pixels, MODES[len(data) % len(MODES)], decoded.opacity).image
    if image.shape != (28, 28) or image.dtype != "uint8":
        msg = f"Expected uint8 of 28x28, received {image.dtype} of {image.shape}."
        raise AssertionError(msg)


def main(arguments: list[str]) -> None:
    """Fuzz for the requested time; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.decoder", description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer, not 0 (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("runs/fuzz"), help="for finds (default: %(default)s)")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # Pillow warns about damaged tags
    corpus = options.folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for kind in FORMATS:
        for number, data in enumerate(intact_files(kind)):
            (corpus / f"{kind}-{number}").write_bytes(data)
    limits = {
        "max_total_time": options.seconds,
        "seed": options.seed,
        "artifact_prefix": f"{options.folder}/",
        "max_len": MAX_FILE_BYTES,
        "timeout": MAX_SECONDS_A_FILE,
        "rss_limit_mb": MAX_MEGABYTES,
    }
    flags = (f"-{name}={value}" for name, value in limits.items())
    atheris.Setup([sys.argv[0], *flags, str(corpus)], decode_and_convert)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
