"""`python -m app.client PICTURE...`: has a service classify pictures."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import httpx

from app.client.blocking import FashionClient
from app.client.exchange import DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE
from app.commands.arguments import STANDARD_INPUT, add_arguments, find_pictures
from app.commands.running import run
from app.commands.tabulate import Listing
from app.errors import ServiceError, UnauthorizedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Classify the named pictures, and return 0 if every one was answered, otherwise 1."""
    parser = argparse.ArgumentParser(prog="python -m app.client", description="Have a service classify pictures.")
    add_arguments(parser)
    parser.add_argument("--url", help=f"where the service is (default: {URL_VARIABLE}, or {DEFAULT_URL})")
    parser.add_argument("--api-key", help=f"the key that the service asks for, if it does (default: {KEY_VARIABLE})")
    options = parser.parse_args(arguments)
    names = find_pictures(options.pictures, parser)
    try:
        client = FashionClient(options.url, api_key=options.api_key)
    except httpx.InvalidURL as error:
        parser.error(f"--url or {URL_VARIABLE}: {error}")
    except ValueError as error:
        parser.error(f"--api-key or {KEY_VARIABLE}: {error}")
    except UnreachableError as error:
        parser.error(str(error))
    pictures = (sys.stdin.buffer if name == STANDARD_INPUT else name for name in names)
    try:
        with client, Listing(options.format, names, sys.stdout, sys.stderr) as listing:
            for name, outcome in zip(names, client.predict_many(pictures, conversion=options.conversion), strict=True):
                listing.add(name, outcome)
    except (ServiceError, UnreachableError) as error:
        advice = f" Pass it by --api-key or {KEY_VARIABLE}." if isinstance(error, UnauthorizedError) else ""
        print(f"{parser.prog}: {error}{advice}", file=sys.stderr)
        return 1
    return 1 if listing.refused else 0


if __name__ == "__main__":
    run(main)
