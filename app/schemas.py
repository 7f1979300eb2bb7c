"""The schemas of the answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from app.model_card import ModelCard  # noqa: TC001  pydantic reads it when the class is made

if TYPE_CHECKING:
    from http import HTTPStatus

    from app.errors import ServiceError

Probability = Annotated[float, Field(ge=0, le=1, examples=[0.9981])]

Absent = SkipJsonSchema[None]
"""None in Python; fields that are None are left out of an answer, so clients in other languages see no null."""

Conversion = Literal["auto", "photo", "none"]
"""Conversions that the query may ask for: `app.imaging.conversion.Mode`, for modules that must not import OpenCV."""


class Answer(BaseModel):
    """Base of every answer: immutable."""

    model_config = ConfigDict(frozen=True)


class ClassName(Answer):
    """One of the classes."""

    class_id: int = Field(description="Zero-based index in the order of the data set.", examples=[9])
    label: str = Field(description="Name of the class.", examples=["Ankle boot"])


class ClassProbability(ClassName):
    """A class and its probability."""

    probability: Probability


class ImageFacts(Answer):
    """The file that was sent."""

    format: str = Field(description="Found by its bytes: PNG, JPEG, WEBP, BMP, GIF, TIFF or RAW.", examples=["JPEG"])
    width: int = Field(
        description="In pixels, with the picture turned upright; a phone may store it as the height.",
        examples=[3024],
    )
    height: int = Field(description="In pixels, with the picture turned upright.", examples=[4032])


class GarmentBox(Answer):
    """The rectangle that was cut out, in pixels of the upright picture: within `width` and `height` of `image`."""

    left: int = Field(examples=[724])
    top: int = Field(examples=[310])
    right: int = Field(description="The first column beyond the rectangle.", examples=[2288])
    bottom: int = Field(description="The first row beyond the rectangle.", examples=[3874])


class ConversionFacts(Answer):
    """How the picture became the 28x28 image that the model saw."""

    mode: str = Field(
        description="`native`: left untouched; `cut_out`: on a transparent background, which shows where the garment "
        "is; `bright_on_black`: like the data set, but of another size; `catalogue`: on a plain light background, "
        "converted as the data set was; `photo`: the garment is located first, and the photograph is usually looked "
        "at in colour too; `none`: only resized.",
        examples=["photo"],
    )
    steps: tuple[str, ...] = Field(
        description="What was done, in order. `no_garment_found`: nothing could be cut out, so the whole frame was "
        "used. The others say how it was decoded (`decoded_at_half`, `decoded_at_quarter`, `decoded_at_eighth`, "
        "`exif_transpose`, `composited_on_white`) and converted (`frame_removed`, `background_removed`, `trimmed`, "
        "`greyscale`, `negated`, `stretched`, `fitted`, `resized`). `seen_in_colour`: a second network also "
        "looked at the photograph in colour, and its findings are part of the probabilities.",
        examples=[
            [
                "decoded_at_eighth",
                "exif_transpose",
                "background_removed",
                "trimmed",
                "greyscale",
                "negated",
                "stretched",
                "fitted",
                "seen_in_colour",
            ]
        ],
    )
    garment: GarmentBox | Absent = Field(
        default=None, description="Where the garment is; left out when nothing was cut out."
    )


class ModelName(Answer):
    """The model that answered."""

    name: str = Field(examples=["fashion-mnist"])
    version: str = Field(examples=["1"])


class Prediction(Answer):
    """The answer for one picture."""

    prediction: ClassProbability = Field(description="The most probable class.")
    probabilities: tuple[ClassProbability, ...] = Field(description="All classes in class order; they sum to 1.")
    prediction_set: tuple[str, ...] = Field(
        description="The conformal prediction set, most probable label first. It contains the right label about as "
        "often as `coverage` of `/model` says, or more often; `card.prediction_sets` there has the measurements.",
        examples=[["Ankle boot"]],
    )
    familiar: bool = Field(
        description="Whether the picture is like those that the model was trained on. If not (out of distribution), "
        "rely neither on the label nor on the probabilities."
    )
    familiarity: float = Field(
        ge=0,
        le=1,
        description="The share of Fashion-MNIST's validation images that look less typical than this picture. Below "
        "0.05, `familiar` is false.",
        examples=[0.62],
    )
    image: ImageFacts
    conversion: ConversionFacts
    model: ModelName
    preview: str | Absent = Field(
        default=None,
        description="The 28x28 image that the model saw, as a data URI of a PNG; left out unless it was asked for.",
        examples=["data:image/png;base64,iVBORw0KGgo..."],
    )


PROBLEM_URN = "urn:problem:fashion-mnist:"
"""What the `type` of every problem of the service begins with."""


class Problem(Answer):
    """What went wrong, in the format of RFC 9457."""

    type: str = Field(
        description="The kind of problem as a URN, an identifier only: `code` with a prefix.",
        examples=["urn:problem:fashion-mnist:invalid_image"],
    )
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was expected, what was received, what to do next.")
    code: str = Field(description="The kind of problem, for programs.")

    @classmethod
    def of_kind(cls, status: HTTPStatus, code: str, title: str, detail: str) -> Self:
        """Return a problem whose `type` is that of its code."""
        return cls(type=PROBLEM_URN + code, title=title, status=status.value, detail=detail, code=code)


def problem_of(error: ServiceError) -> Problem:
    """Return what a client is told about an error."""
    return Problem.of_kind(error.status, error.code, error.title, error.detail)


class BatchItem(Answer):
    """The outcome for one file: a result or a problem."""

    filename: str | Absent = Field(description="The filename as sent.")
    result: Prediction | Absent = None
    problem: Problem | Absent = None


class BatchPrediction(Answer):
    """The outcome for each file, in the order sent."""

    results: tuple[BatchItem, ...]


class Limits(Answer):
    """The limits in force."""

    max_body_bytes: int = Field(description="Maximum size of a picture in bytes, in a batch as well.")
    max_batch_files: int = Field(description="Maximum number of pictures in a batch.")
    max_batch_bytes: int = Field(description="Maximum size of the body of a batch in bytes.")
    max_image_pixels: int = Field(description="Maximum number of pixels of a picture, its width times its height.")
    max_pending_images: int = Field(
        description="Maximum number of pictures in work in a worker; further requests are refused with 503."
    )
    request_timeout_seconds: float = Field(
        description="Longest deadline of a request, including the time it takes to arrive."
    )
    formats: tuple[str, ...] = Field(description="Accepted formats, detected from the bytes.")


class ModelInformation(Answer):
    """The model card, with the limits and version of the service."""

    card: ModelCard
    coverage: float = Field(
        description="How often `prediction_set` should contain the right label, for images like the data set's.",
        examples=[0.95],
    )
    limits: Limits
    service_version: str


class Health(Answer):
    """The health of the service."""

    status: str
