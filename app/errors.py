"""Everything that can go wrong, with its HTTP status and machine-readable code.

ServiceError                    500 internal
├── MalformedRequestError       400 malformed_request
├── UnauthorizedError           401 unauthorized            WWW-Authenticate
├── CrossSiteError              403 cross_site
├── RequestTooSlowError         408 too_slow
├── BodyTooSlowError            413 body_too_slow
├── PayloadTooLargeError        413 payload_too_large
├── ImageTooLargeError          413 image_too_large
├── UnsupportedMediaTypeError   415 unsupported_media_type
├── InvalidImageError           422 invalid_image
├── InvalidRequestError         422 invalid_request
├── HeaderTooLargeError         431 header_too_large
├── RetryableError
│   ├── OverloadedError         503 overloaded              Retry-After
│   └── NotReadyError           503 not_ready               Retry-After
└── RequestTimeoutError         504 timeout

StartError                      no request: the service does not start
UnreachableError                no answer: raised by the client alone
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator


class StartError(Exception):
    """The service cannot start; its message is one line that names what was expected and what was found."""


class UnreachableError(Exception):
    """The client got no answer of the service; its message is one line that says what it got instead."""


class ServiceError(Exception):
    """A request that is answered with a problem; its message becomes `detail`, so it says what to do next.

    The client raises the same classes.

    Attributes:
        status: The HTTP status.
        code: The kind of error, for machines.
        title: The kind of error, in words.
        example: A sample message, for the API document.
        retry_after_seconds: When to try again, if that may help.
        request_id: In the client, the id that the log of the service has for the request, if it has one.
    """

    status: HTTPStatus = HTTPStatus.INTERNAL_SERVER_ERROR
    code: str = "internal"
    title: str = "The service failed"
    example: ClassVar[str] = "The service failed on this request, and the failure is logged. Try again later."
    retry_after_seconds: int | None = None
    request_id: str | None = None

    @property
    def detail(self) -> str:
        """What was expected, what was received, and what to do next."""
        return str(self)


def kinds(error: type[ServiceError] = ServiceError) -> Iterator[type[ServiceError]]:
    """Yield the errors that have a code of their own."""
    if "code" in vars(error):
        yield error
    for kind in error.__subclasses__():
        yield from kinds(kind)


class MalformedRequestError(ServiceError):
    """The request is not valid HTTP."""

    status = HTTPStatus.BAD_REQUEST
    code = "malformed_request"
    title = "Malformed HTTP request"
    example = "Expected one Host header, received 2."


class UnauthorizedError(ServiceError):
    """The service requires a key, and the request has none that it knows."""

    status = HTTPStatus.UNAUTHORIZED
    code = "unauthorized"
    title = "API key required"
    example = (
        "Expected a key as `Authorization: Bearer KEY` or `X-API-Key: KEY`, received none. "
        "Ask whoever runs the service for one."
    )


class CrossSiteError(ServiceError):
    """A browser sent the request on behalf of a page of another site, which the settings do not allow."""

    status = HTTPStatus.FORBIDDEN
    code = "cross_site"
    title = "Cross-site request refused"
    example = (
        "Expected a call from this site or one in FASHION_CORS_ORIGINS, received one from a page of another site. "
        "Ask whoever runs the service to allow that site."
    )


class RequestTooSlowError(ServiceError):
    """The header took longer to arrive than the limit allows."""

    status = HTTPStatus.REQUEST_TIMEOUT
    code = "too_slow"
    title = "The request arrived too slowly"
    example = "Expected the whole header within 10 seconds, received only part of it."


class BodyTooSlowError(ServiceError):
    """The body took longer to arrive than the limit allows.

    The status is 413, since the body is too large for its connection. After a 408, Chromium would send it again by
    itself, on each connection it has.
    """

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "body_too_slow"
    title = "The body arrived too slowly"
    example = (
        "Expected the whole body within 20 seconds, received only part of it. "
        "Send a smaller picture; the model looks at 28 x 28."
    )


class PayloadTooLargeError(ServiceError):
    """The body has more bytes than the limit, as announced or as counted."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "payload_too_large"
    title = "The body is too large"
    example = "Expected at most 10485760 bytes, received 20971520. Send a smaller picture; the model looks at 28 x 28."


class ImageTooLargeError(ServiceError):
    """The header announces more pixels than the limit."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "image_too_large"
    title = "The image has too many pixels"
    example = (
        "Expected at most 50000000 pixels, received 10000 x 10000 = 100000000. "
        "Scale the picture down; the model looks at 28 x 28."
    )


class UnsupportedMediaTypeError(ServiceError):
    """The bytes are not an image of an accepted format."""

    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    code = "unsupported_media_type"
    title = "Unsupported image format"
    example = (
        "Expected an image as PNG, JPEG, WEBP, BMP, GIF or TIFF, received a HEIC file; save it as "
        "JPEG first: on an iPhone, Settings > Camera > Formats > Most Compatible."
    )


class InvalidImageError(ServiceError):
    """The bytes begin like an accepted format but cannot be decoded."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid_image"
    title = "The image cannot be read"
    example = "Expected the bytes of an image, received none. Send the file itself."


class InvalidRequestError(ServiceError):
    """The request does not fit the schema."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "invalid_request"
    title = "The request does not fit the schema"
    example = (
        "Expected a file in the field `file`, received the fields: `picture`. "
        "Send `file` with a filename, as `curl -F file=@photo.jpg` does."
    )


class HeaderTooLargeError(ServiceError):
    """The request line, the headers or the trailers have more bytes than any client needs."""

    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    code = "header_too_large"
    title = "The header is too large"
    example = "Expected at most 32768 bytes besides the body, received more. Send fewer headers."


class RetryableError(ServiceError):
    """A refusal that may be temporary.

    Args:
        detail: The message.
        retry_after_seconds: How long to wait before trying again; sent as `Retry-After`.
    """

    status = HTTPStatus.SERVICE_UNAVAILABLE
    retry_after_seconds: int

    def __init__(self, detail: str, retry_after_seconds: int) -> None:
        """Keep the message and the delay."""
        super().__init__(detail)
        self.retry_after_seconds = retry_after_seconds

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle both arguments, so that the error can pass between processes."""
        return type(self), (str(self), self.retry_after_seconds), self.__dict__


class OverloadedError(RetryableError):
    """A limit on images, bytes, connections or waiting time has been reached."""

    code = "overloaded"
    title = "Service overloaded"
    example = "Expected at most 72 pictures at a time, received one more. Try again later."


class NotReadyError(RetryableError):
    """The service is stopping."""

    code = "not_ready"
    title = "Service not ready"
    example = "Expected a running service, received one that is stopping. Try again later."


class RequestTimeoutError(ServiceError):
    """The deadline passed before the answer was ready."""

    status = HTTPStatus.GATEWAY_TIMEOUT
    code = "timeout"
    title = "Deadline exceeded"
    example = "Expected an answer within 30 seconds, which have passed. Try again later."
