"""Looks for bytes that break the decoder, guided by which lines they reach; needs atheris, of `make test-fuzz`.

`python -m tests.fuzz.decoder --seconds 120` starts from intact files and goes on from what it learnt before. It ends
with the traceback of the first error that is no refusal, or when the time is over. The lines are those of `app.imaging`
and of Pillow's Python; the libraries in C behind them are reached, yet not measured.
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

    Image.init()  # imports the decoders, which would otherwise come with the first file

from app.errors import ServiceError
from tests.fuzz.files import intact_files

MAX_IMAGE_PIXELS = 10**6
MAX_FILE_BYTES = 8192
MAX_SECONDS_A_FILE = 10
MAX_MEGABYTES = 2048
MODES = tuple(Mode)


def decode_and_convert(data: bytes) -> None:
    """Do to some bytes what the service does; only a refusal may come of it, or an image for the model."""
    try:
        decoded = decode(data, RAW_MEDIA_TYPE, MAX_IMAGE_PIXELS)
    except ServiceError:
        return
    image = convert(decoded.pixels, MODES[len(data) % len(MODES)], decoded.opacity).image
    if image.shape != (28, 28) or image.dtype != "uint8":
        msg = f"Expected uint8 of 28x28, received {image.dtype} of {image.shape}."
        raise AssertionError(msg)


def main(arguments: list[str]) -> None:
    """Fuzz for as long as was asked for; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.decoder", description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer, not 0 (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("runs/fuzz"), help="for finds (default: %(default)s)")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")  # Pillow's, of damaged tags
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
