"""Asks the service from Python, blocking or not, without importing anything of the server."""

from app.client.asynchronous import AsyncFashionClient
from app.client.blocking import FashionClient
from app.client.pictures import Picture
from app.errors import (
    ImageTooLargeError,
    InvalidImageError,
    InvalidRequestError,
    NotReadyError,
    OverloadedError,
    PayloadTooLargeError,
    RequestTimeoutError,
    RetryableError,
    ServiceError,
    UnreachableError,
    UnsupportedMediaTypeError,
)
from app.outcomes import Outcome
from app.schemas import Conversion

__all__ = [
    "AsyncFashionClient",
    "Conversion",
    "FashionClient",
    "ImageTooLargeError",
    "InvalidImageError",
    "InvalidRequestError",
    "NotReadyError",
    "Outcome",
    "OverloadedError",
    "PayloadTooLargeError",
    "Picture",
    "RequestTimeoutError",
    "RetryableError",
    "ServiceError",
    "UnreachableError",
    "UnsupportedMediaTypeError",
]
