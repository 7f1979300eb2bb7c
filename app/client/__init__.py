"""Clients of the service, blocking or asynchronous, that import nothing of the server."""

from app.client.asynchronous import AsyncFashionClient
from app.client.blocking import FashionClient
from app.client.pictures import Picture
from app.errors import (
    BodyTooSlowError,
    CrossSiteError,
    HeaderTooLargeError,
    ImageTooLargeError,
    InvalidImageError,
    InvalidRequestError,
    MalformedRequestError,
    NotReadyError,
    OverloadedError,
    PayloadTooLargeError,
    RequestTimeoutError,
    RequestTooSlowError,
    RetryableError,
    ServiceError,
    UnauthorizedError,
    UnreachableError,
    UnsupportedMediaTypeError,
)
from app.outcomes import Outcome
from app.schemas import Conversion

__all__ = [
    "AsyncFashionClient",
    "BodyTooSlowError",
    "Conversion",
    "CrossSiteError",
    "FashionClient",
    "HeaderTooLargeError",
    "ImageTooLargeError",
    "InvalidImageError",
    "InvalidRequestError",
    "MalformedRequestError",
    "NotReadyError",
    "Outcome",
    "OverloadedError",
    "PayloadTooLargeError",
    "Picture",
    "RequestTimeoutError",
    "RequestTooSlowError",
    "RetryableError",
    "ServiceError",
    "UnauthorizedError",
    "UnreachableError",
    "UnsupportedMediaTypeError",
]
