from __future__ import annotations

import base64
import io
import json
import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import ExifTags, Image, ImageDraw

from app.dependencies import Wishes
from app.errors import InvalidImageError, InvalidRequestError, ServiceError, UnsupportedMediaTypeError
from app.http.forms import IN_QUERY
from app.http.problems import internal_problem
from app.main import create_app
from app.settings import Settings
from app.telemetry.logs import configure_logging
from tests.conftest import encoded
from tests.fakes import FirstPixelClassifier, HeldClassifier, tagged_image
from training.data import LABELS, Data

if TYPE_CHECKING:
    from httpx2 import Response
    from numpy.typing import NDArray


BOOT = encoded(tagged_image(9))
PROBLEM_TYPE = "application/problem+json"
GARMENT = {"left": 201, "top": 118, "right": 423, "bottom": 721}
"""Where the garment is in `photograph()`, in pixels."""


def problem(response: Response) -> tuple[int, str]:
    """Check the shape of a problem, and return its status and code."""
    assert response.headers["content-type"] == PROBLEM_TYPE
    body = response.json()
    assert body.keys() == {"type", "title", "status", "detail", "code"}
    assert body["status"] == response.status_code
    assert body["type"].endswith(body["code"])
    return body["status"], body["code"]


def small(**limits: int) -> TestClient:
    return TestClient(create_app(Settings.model_validate(limits), FirstPixelClassifier()))


def photograph(scale: int = 1) -> Image.Image:
    """Draw a dark garment on a light background, 605 x 803 pixels times the scale."""
    picture = Image.new("RGB", (605 * scale, 803 * scale), (235, 232, 228))
    left, top, right, bottom = (scale * edge for edge in GARMENT.values())
    picture.paste((60, 40, 90), (left, top, right, bottom))
    return picture


def shown(preview: str) -> NDArray[np.uint8]:
    """Return the pixels of an answer's preview."""
    kind, _, content = preview.partition(",")
    assert kind == "data:image/png;base64"
    with Image.open(io.BytesIO(base64.b64decode(content)), formats=["PNG"]) as image:
        return np.asarray(image)


# --- POST /predict ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        {"files": {"file": ("boot.png", BOOT, "image/png")}},
        {"content": BOOT, "headers": {"Content-Type": "image/png"}},
        {"content": BOOT, "headers": {"Content-Type": "application/octet-stream"}},
        {"content": BOOT, "headers": {"Content-Type": "application/x-www-form-urlencoded"}},  # curl --data-binary
        {"content": BOOT},
        {"content": tagged_image(9).tobytes(), "headers": {"Content-Type": "application/octet-stream"}},
    ],
    ids=["multipart", "image", "octet-stream", "curl's default", "no type", "raw pixels"],
)
def test_a_picture_is_answered_however_it_is_sent(client: TestClient, sent: dict[str, Any]) -> None:
    response = client.post("/predict", **sent)
    assert response.status_code == 200
    assert response.json()["prediction"]["label"] == "Ankle boot"
    assert sum(entry["probability"] for entry in response.json()["probabilities"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "channels", "options"),
    [
        ("PNG", "L", {}),
        ("PNG", "RGB", {}),
        ("PNG", "P", {}),
        ("BMP", "L", {}),
        ("GIF", "L", {}),
        ("TIFF", "L", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("WEBP", "RGB", {"lossless": True}),
        ("RAW", "L", {}),
    ],
)
def test_serving_feeds_the_model_exactly_the_array_that_training_uses(
    client: TestClient,
    classifier: FirstPixelClassifier,
    data: Data,
    kind: str,
    channels: str,
    options: dict[str, Any],
) -> None:
    for image in data.train.images[:20]:
        picture = Image.fromarray(image).convert(channels)
        body = image.tobytes() if kind == "RAW" else encoded(picture, kind, **options)
        response = client.post("/predict", content=body, headers={"Content-Type": "application/octet-stream"})
        assert response.json()["conversion"] == {"mode": "native", "steps": []}
        assert np.array_equal(classifier.seen[-1][0], image)


def test_a_jpeg_reaches_the_model_as_pillow_decodes_it(
    client: TestClient, classifier: FirstPixelClassifier, data: Data
) -> None:
    client.post("/predict", content=encoded(data.test.images[0], "JPEG", quality=95))
    assert np.abs(classifier.seen[-1][0].astype(int) - data.test.images[0]).mean() < 3


def test_the_query_chooses_the_conversion(client: TestClient) -> None:
    assert client.post("/predict?conversion=photo", content=BOOT).json()["conversion"]["mode"] == "photo"
    assert client.post("/predict?conversion=none", content=BOOT).json()["conversion"]["mode"] == "none"


def test_a_garment_on_a_transparent_background_is_cut_out_by_its_transparency(client: TestClient) -> None:
    opacity = Image.new("L", (120, 160))
    ImageDraw.Draw(opacity).polygon([(30, 20), (90, 20), (110, 140), (10, 140)], 255)
    white_dress = Image.new("RGB", opacity.size, "white")
    white_dress.putalpha(opacity)
    conversion = client.post("/predict", content=encoded(white_dress)).json()["conversion"]
    assert conversion["mode"] == "cut_out"
    edges = {"left": 10, "top": 20, "right": 111, "bottom": 141}
    assert conversion["garment"] == {edge: pytest.approx(value, abs=2) for edge, value in edges.items()}


def test_a_picture_without_a_garment_says_so_and_is_answered(client: TestClient) -> None:
    answer = client.post("/predict?conversion=photo", content=encoded(Image.new("RGB", (50, 50), "gray"))).json()
    assert answer["conversion"]["steps"][0] == "no_garment_found"
    assert len(answer["probabilities"]) == 10


@pytest.mark.parametrize(
    ("kind", "scale", "turned"),
    [("PNG", 1, False), ("PNG", 1, True), ("JPEG", 1, False), ("JPEG", 5, False), ("JPEG", 5, True)],
)
def test_the_garment_is_located_in_pixels_of_the_upright_picture(
    client: TestClient, kind: str, scale: int, *, turned: bool
) -> None:
    picture = stored = photograph(scale)
    exif = Image.Exif()
    if turned:
        stored, exif[ExifTags.Base.Orientation] = picture.transpose(Image.Transpose.ROTATE_90), 6
    answer = client.post("/predict", content=encoded(stored, kind, exif=exif)).json()
    assert (answer["image"]["width"], answer["image"]["height"]) == picture.size
    # The garment is searched for in a smaller copy, so an edge may be off by one of its pixels.
    expected = {edge: pytest.approx(scale * value, abs=8 * scale) for edge, value in GARMENT.items()}
    assert answer["conversion"]["garment"] == expected


def test_a_garment_that_touches_the_edge_ends_there(client: TestClient) -> None:
    picture = Image.new("L", (2403, 2405), 235)  # neither a quarter nor an eighth is a whole number of pixels
    picture.paste(40, (2250, 2230, *picture.size))  # so little of the frame that the background stays plain
    garment = client.post("/predict", content=encoded(picture, "JPEG")).json()["conversion"]["garment"]
    assert (garment["right"], garment["bottom"]) == (2403, pytest.approx(2405, abs=8))


@pytest.mark.parametrize(
    ("query", "picture"),
    [("", BOOT), ("", encoded(Image.new("L", (50, 50), 235))), ("?conversion=none", encoded(photograph()))],
    ids=["native", "nothing there", "only resized"],
)
def test_no_garment_is_named_if_nothing_is_cut_out(client: TestClient, query: str, picture: bytes) -> None:
    assert "garment" not in client.post(f"/predict{query}", content=picture).json()["conversion"]


@pytest.mark.parametrize("picture", [BOOT, encoded(photograph())], ids=["native", "photograph"])
def test_the_preview_is_exactly_the_image_that_the_model_saw(
    client: TestClient, classifier: FirstPixelClassifier, picture: bytes
) -> None:
    answer = client.post("/predict?preview=true", content=picture).json()
    assert np.array_equal(shown(answer["preview"]), classifier.seen[-1][0])


def test_there_is_no_preview_unless_it_is_asked_for(client: TestClient) -> None:
    asked, not_asked = (client.post(f"/predict?preview={value}", content=BOOT).json() for value in ("true", "false"))
    assert client.post("/predict", content=BOOT).json() == not_asked
    assert asked.keys() - not_asked.keys() == {"preview"}
    assert not_asked.keys() == {
        *("prediction", "probabilities", "prediction_set", "familiar", "familiarity"),
        *("image", "conversion", "model"),
    }


@pytest.mark.parametrize(
    ("query", "sent", "expected"),
    [
        ("", {"content": b""}, (422, "invalid_image")),
        ("", {"content": BOOT[:-30]}, (422, "invalid_image")),
        ("", {"content": b"hello"}, (415, "unsupported_media_type")),
        ("?conversion=magic", {"content": BOOT}, (422, "invalid_request")),
        ("?preview=perhaps", {"content": BOOT}, (422, "invalid_request")),
        ("?previw=true", {"content": BOOT}, (422, "invalid_request")),
        ("", {"files": {"file": BOOT}, "data": {"preview": "true"}}, (422, "invalid_request")),
        ("", {"files": {"image": BOOT}}, (422, "invalid_request")),
        ("", {"data": {"file": "text"}, "files": {"other": BOOT}}, (422, "invalid_request")),
        ("", {"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, (422, "invalid_request")),
        (
            "",
            {"content": b"--b\r\nnonsense", "headers": {"Content-Type": "multipart/form-data; boundary=b"}},
            (422, "invalid_request"),
        ),
        ("", {"files": [("file", BOOT), ("file", BOOT)]}, (422, "invalid_request")),
    ],
    ids=[
        "empty",
        "truncated",
        "text",
        "conversion",
        "preview",
        "misspelt",
        "misplaced",
        "field",
        "no file",
        "no boundary",
        "malformed",
        "two files",
    ],
)
def test_a_request_that_cannot_be_answered_gets_its_problem(
    client: TestClient, query: str, sent: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert problem(client.post("/predict" + query, **sent)) == expected


def test_a_body_over_the_limit_is_refused_by_its_announced_length() -> None:
    response = small(max_body_bytes=100).post("/predict", content=bytes(101))
    assert problem(response) == (413, "payload_too_large")
    assert "at most 100 bytes, received 101" in response.json()["detail"]


def test_a_body_over_the_limit_is_refused_while_it_is_received() -> None:
    response = small(max_body_bytes=100).post("/predict", content=(bytes(50) for _ in range(3)))
    assert problem(response) == (413, "payload_too_large")


def test_a_file_of_a_form_over_the_limit_is_refused() -> None:
    assert problem(small(max_body_bytes=100).post("/predict", files={"file": bytes(101)})) == (413, "payload_too_large")
    assert problem(small(max_body_bytes=100).post("/predict", files={"file": bytes(10**6)}))[1] == "payload_too_large"


def test_a_picture_of_exactly_the_limit_is_answered() -> None:
    client = small(max_body_bytes=len(BOOT))
    assert client.post("/predict", content=BOOT).status_code == 200
    assert client.post("/predict", files={"file": BOOT}).status_code == 200


def test_too_many_pixels_are_refused() -> None:
    assert problem(small(max_image_pixels=783).post("/predict", content=BOOT)) == (413, "image_too_large")


def test_over_the_limit_of_pending_pictures_the_answer_is_503_with_a_retry_after() -> None:
    held = HeldClassifier()
    with TestClient(create_app(Settings(max_pending_images=1), held)) as client:
        first = threading.Thread(target=client.post, args=("/predict",), kwargs={"content": BOOT})
        first.start()
        assert held.entered.wait(60)
        refused = client.post("/predict", content=BOOT)
        held.release.set()
        first.join()
    assert problem(refused) == (503, "overloaded")
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["server-timing"].startswith("queue;dur=")


@pytest.mark.usefixtures("restored_logging")
def test_an_internal_failure_reveals_nothing_about_its_cause() -> None:
    def fail(_: NDArray[np.uint8]) -> None:
        msg = "a secret"
        raise RuntimeError(msg)

    configure_logging(Settings())
    with TestClient(create_app(Settings(), FirstPixelClassifier(fail))) as client:
        response = client.post("/predict", content=BOOT)
    assert problem(response) == (500, "internal")
    assert "secret" not in response.text
    assert response.headers["x-request-id"]


# --- POST /predict/batch ------------------------------------------------------------------------------------------


def test_a_batch_answers_in_order_and_a_bad_file_does_not_affect_the_others() -> None:
    client = small(max_body_bytes=5000)
    files = [
        ("files", ("boot.png", BOOT, "image/png")),
        ("files", ("notes.txt", b"hello", "text/plain")),
        ("files", ("large.png", bytes(5001), "image/png")),
        ("files", ("dress.png", encoded(tagged_image(3)), "image/png")),
    ]
    results = client.post("/predict/batch", files=files).json()["results"]
    assert [item["filename"] for item in results] == ["boot.png", "notes.txt", "large.png", "dress.png"]
    assert [item.keys() - {"filename"} for item in results] == [{"result"}, {"problem"}, {"problem"}, {"result"}]
    assert [results[i]["result"]["prediction"]["label"] for i in (0, 3)] == ["Ankle boot", "Dress"]
    assert [results[i]["problem"]["code"] for i in (1, 2)] == ["unsupported_media_type", "payload_too_large"]


def test_an_internal_failure_on_one_picture_does_not_affect_the_others_of_the_batch(
    capsys: pytest.CaptureFixture[str],
) -> None:
    passes: list[int] = []

    def fail_at_first(images: NDArray[np.uint8]) -> None:
        passes.append(len(images))
        if len(passes) == 1:
            raise RuntimeError

    app = create_app(Settings(max_forward_images=1), FirstPixelClassifier(fail_at_first))
    with TestClient(app) as client:
        answer = client.post("/predict/batch", files=[("files", BOOT)] * 8)
        assert answer.status_code == 200
        problems = [item["problem"] for item in answer.json()["results"] if "problem" in item]
        assert [(one["status"], one["code"]) for one in problems] == [(500, "internal")]
        assert app.state.predictor.load().pending == 0
        counted = client.get("/metrics").text
    assert 'fashion_refusals_total{reason="internal"} 1.0' in counted
    assert 'fashion_predictions_total{familiar="true",label="Ankle boot"} 7.0' in counted
    printed = capsys.readouterr().out
    assert "picture failed" in printed
    assert "Traceback" in printed
    assert passes == [1] * 8


@pytest.mark.parametrize(
    ("files", "status"), [([("files", BOOT)] * 3, 200), ([("file", BOOT)], 422)], ids=["answered", "refused"]
)
def test_a_batch_gives_back_the_bytes_that_it_held(files: list[tuple[str, bytes]], status: int) -> None:
    app = create_app(Settings(), FirstPixelClassifier())
    with TestClient(app) as client:
        assert client.post("/predict/batch", files=files).status_code == status
    assert app.state.body_budget.held_bytes == 0


def test_a_batch_gives_each_picture_the_answer_that_it_gets_alone(client: TestClient, data: Data) -> None:
    pictures = [encoded(image) for image in data.test.images[:30]]
    batch = client.post("/predict/batch", files=[("files", picture) for picture in pictures]).json()["results"]
    assert [item["result"] for item in batch] == [client.post("/predict", content=one).json() for one in pictures]


def test_a_batch_shows_garments_always_and_previews_on_request(client: TestClient) -> None:
    files = [("files", encoded(photograph())), ("files", BOOT), ("files", b"hello")]
    plain, shown_too = (
        [item.get("result", {}) for item in client.post(f"/predict/batch{query}", files=files).json()["results"]]
        for query in ("", "?preview=true")
    )
    assert ["garment" in result.get("conversion", {}) for result in plain] == [True, False, False]
    assert ["preview" in result for result in plain] == [False, False, False]
    assert np.array_equal(shown(shown_too[1]["preview"]), tagged_image(9))


@pytest.mark.parametrize(
    "sent",
    [{"content": BOOT, "headers": {"Content-Type": "image/png"}}, {"files": {"file": BOOT}}],
    ids=["not multipart", "wrong field"],
)
def test_a_batch_without_files_is_an_invalid_request(client: TestClient, sent: dict[str, Any]) -> None:
    assert problem(client.post("/predict/batch", **sent)) == (422, "invalid_request")


def test_a_batch_over_its_limits_is_refused_whole() -> None:
    files = [("files", BOOT)] * 3
    assert problem(small(max_batch_files=2).post("/predict/batch", files=files)) == (422, "invalid_request")
    too_large = small(max_batch_bytes=200).post("/predict/batch", files=files)
    assert problem(too_large) == (413, "payload_too_large")
    assert too_large.json()["detail"].endswith("Send fewer pictures at once.")


# --- the rest -----------------------------------------------------------------------------------------------------


def test_classes_are_the_card_s_labels_in_order(client: TestClient) -> None:
    assert client.get("/classes").json() == [{"class_id": i, "label": label} for i, label in enumerate(LABELS)]


def test_model_carries_the_card_the_limits_and_the_version(client: TestClient) -> None:
    body = client.get("/model").json()
    assert body["card"]["name"] == "fake"
    assert body["limits"]["max_body_bytes"] == 10 * 2**20
    assert body["limits"]["formats"] == ["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF"]
    assert body["service_version"]
    assert body["coverage"] == 0.95


def test_health_is_always_live_and_ready_only_between_start_and_stop() -> None:
    app = create_app(Settings(), FirstPixelClassifier())
    client = TestClient(app)
    assert client.get("/health/live").json() == {"status": "live"}
    before = client.get("/health/ready")
    assert problem(before) == (503, "not_ready")
    assert before.headers["retry-after"] == "1"
    with TestClient(app) as started:
        assert started.get("/health/ready").json() == {"status": "ready"}
    assert problem(client.get("/health/ready")) == (503, "not_ready")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/nowhere", (404, "not_found")),
        ("POST", "/predict/", (404, "not_found")),
        ("GET", "/predict", (405, "method_not_allowed")),
    ],
)
def test_calls_that_do_not_exist_get_a_problem_too(
    client: TestClient, method: str, path: str, expected: tuple[int, str]
) -> None:
    assert problem(client.request(method, path)) == expected


def test_a_wrong_method_is_answered_with_the_right_ones(client: TestClient) -> None:
    assert client.get("/predict").json()["detail"] == "Expected POST /predict, received GET /predict."


def test_a_refused_preflight_says_where_origins_are_listed(client: TestClient) -> None:
    asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    detail = client.options("/predict", headers=asked).json()["detail"]
    assert detail.startswith("Expected POST /predict, received OPTIONS /predict. ")
    assert "FASHION_CORS_ORIGINS" in detail
    answer = client.delete("/classes")
    assert answer.headers["allow"] == "GET, HEAD"
    assert answer.json()["detail"] == "Expected GET or HEAD /classes, received DELETE /classes."


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/predict/", ", such as /predict"),
        ("/Predict/batch", ", such as /predict/batch"),
        ("/batch", ", such as /predict/batch"),
        ("/v1/predict", ", such as /predict"),
        ("/class", ", such as /classes"),
        ("/model/", ", such as /model"),
        ("/docs/", ", such as /docs"),
        ("/health", ", such as /health/live"),
        ("/healthz", ", such as /health/live"),
        ("/ready", ", such as /health/ready"),
        ("/web", ""),
        ("/nowhere/at/all", ""),
    ],
)
def test_a_path_that_is_nearly_right_is_answered_with_the_right_one(client: TestClient, path: str, meant: str) -> None:
    assert client.get(path).json()["detail"] == (
        f"Expected a path that the service has{meant}, received GET {path}. All calls are listed at /docs."
    )


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_an_option_that_does_not_exist_is_named(client: TestClient, path: str) -> None:
    detail = client.post(f"{path}?previw=true", content=BOOT).json()["detail"]
    assert detail == "Expected `conversion` or `preview` in the query, received 'previw'."


def test_every_option_of_the_query_is_refused_in_a_form() -> None:
    assert frozenset(Wishes.model_fields) == IN_QUERY


def test_several_pictures_in_one_form_are_referred_to_the_batch_call(client: TestClient) -> None:
    answer = client.post("/predict", files=[("file", BOOT), ("file", BOOT)])
    assert problem(answer) == (422, "invalid_request")
    assert answer.json()["detail"].endswith("Send several to /predict/batch.")


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("conversion=magic", "Expected `conversion` to be 'auto', 'photo' or 'none', received 'magic'."),
        ("preview=maybe", "Expected `preview` to be true or false, received 'maybe'."),
        ("preview=", "Expected `preview` to be true or false, received ''."),
    ],
)
def test_an_invalid_value_is_answered_with_the_valid_ones(
    client: TestClient, path: str, query: str, expected: str
) -> None:
    assert client.post(f"{path}?{query}", content=BOOT).json()["detail"] == expected


def test_only_part_of_a_long_invalid_value_is_repeated(client: TestClient) -> None:
    detail = client.post(f"/predict?conversion={'m' * 9000}", content=BOOT).json()["detail"]
    assert ", received 'mmm" in detail
    assert len(detail) < 250


def test_the_api_document_names_every_error_of_predict_with_an_example(client: TestClient) -> None:
    operation = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    codes = {
        code
        for response in operation["responses"].values()
        for code in response["content"].get(PROBLEM_TYPE, {}).get("examples", {})
    }
    assert codes == {
        "malformed_request",
        "cross_site",
        "too_slow",
        "body_too_slow",
        "header_too_large",
        "payload_too_large",
        "image_too_large",
        "unsupported_media_type",
        "invalid_image",
        "invalid_request",
        "overloaded",
        "not_ready",
        "timeout",
        "internal",
    }
    assert set(operation["requestBody"]["content"]) == {"multipart/form-data", "image/*", "application/octet-stream"}


def test_the_examples_of_the_api_document_say_what_was_expected_what_was_received_and_what_to_do(
    client: TestClient,
) -> None:
    paths = client.get("/openapi.json").json()["paths"].values()
    details = {
        code: example["value"]["detail"]
        for path in paths
        for operation in path.values()
        for response in operation["responses"].values()
        for code, example in response.get("content", {}).get(PROBLEM_TYPE, {}).get("examples", {}).items()
    }
    assert details.pop("internal") == internal_problem().detail
    for detail in details.values():
        assert re.fullmatch(r"Expected .+, (received|which have passed).+\.", detail)


@pytest.mark.parametrize("error", [InvalidImageError, UnsupportedMediaTypeError, InvalidRequestError])
def test_an_example_of_the_api_document_is_what_the_service_answers(
    client: TestClient, error: type[ServiceError]
) -> None:
    heic = b"\0\0\0\x18ftypheic" + bytes(12)
    sent: dict[type[ServiceError], dict[str, Any]] = {
        InvalidImageError: {"content": b""},
        UnsupportedMediaTypeError: {"content": heic},
        InvalidRequestError: {"files": {"picture": BOOT}},
    }
    assert client.post("/predict", **sent[error]).json()["detail"] == error.example


def test_the_api_document_describes_the_id_of_every_request_and_answer(client: TestClient) -> None:
    for path in client.get("/openapi.json").json()["paths"].values():
        for operation in path.values():
            (parameter,) = (one for one in operation["parameters"] if one["name"] == "X-Request-ID")
            assert parameter["in"] == "header"
            assert all("X-Request-ID" in response["headers"] for response in operation["responses"].values())


def test_the_api_document_describes_the_stages_of_answers_and_refusals(client: TestClient) -> None:
    responses = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["responses"]
    assert {status for status, one in responses.items() if "Server-Timing" in one["headers"]} >= {"200", "415", "503"}
    assert {status for status, one in responses.items() if "Retry-After" in one["headers"]} == {"503"}
    assert "server-timing" in client.post("/predict", content=b"no picture").headers


def test_the_api_document_describes_every_limit_and_closes_no_schema(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert all(field["description"] for field in schemas["Limits"]["properties"].values())
    for schema in schemas.values():
        assert "additionalProperties" not in schema
        assert "Attributes:" not in schema.get("description", "")


def test_methods_of_generated_clients_have_short_names(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"].values()
    names = [operation["operationId"] for path in paths for operation in path.values()]
    assert set(names) == {"predict", "predict_batch", "classes", "model", "live", "ready", "metrics"}
    assert len(names) == len(set(names))


def test_the_api_document_has_only_one_shape_of_problem(client: TestClient) -> None:
    document = client.get("/openapi.json")
    assert "ValidationError" not in document.text
    for path in document.json()["paths"].values():
        for operation in path.values():
            (schema,) = (one["schema"] for one in operation["responses"]["default"]["content"].values())
            assert schema == {"$ref": "#/components/schemas/Problem"}


def test_the_api_document_promises_no_null_where_a_field_is_left_out(client: TestClient) -> None:
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    for name in ("Prediction", "ConversionFacts", "BatchItem"):
        assert '"null"' not in json.dumps(schemas[name])


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_the_api_document_describes_the_preview_and_the_garment(client: TestClient, path: str) -> None:
    document = client.get("/openapi.json").json()
    schemas = document["components"]["schemas"]
    (preview,) = (one for one in document["paths"][path]["post"]["parameters"] if one["name"] == "preview")
    assert (preview["required"], preview["schema"]["default"]) == (False, False)
    assert "left out unless" in schemas["Prediction"]["properties"]["preview"]["description"]
    assert "left out when" in schemas["ConversionFacts"]["properties"]["garment"]["description"]
    assert schemas["GarmentBox"]["properties"].keys() == {"left", "top", "right", "bottom"}
