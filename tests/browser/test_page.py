"""The page at `/` in a real browser, against the real service."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import ExifTags, Image
from playwright.sync_api import expect

from app.commands.tabulate import CSV_COLUMNS
from app.http.keys import digest
from app.http.pages import WEB
from app.main import create_app
from app.settings import Settings
from tests.app.http.test_protocol import serving
from tests.app.test_routes import GARMENT, photograph
from tests.browser.conftest import PHONE, keep
from tests.conftest import encoded, listening
from tests.fakes import FirstPixelClassifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Dialog, FilePayload, Page, Route

pytestmark = pytest.mark.browser

USAGE = Path(__file__).parents[2] / "docs/usage.md"
SAMPLES = sorted((WEB / "samples").iterdir())
SWEATER = WEB / "samples" / "sweater.jpg"
TEXT: FilePayload = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"a boot"}
NOISE: FilePayload = {
    "name": "noise.png",
    "mimeType": "image/png",
    "buffer": encoded(np.random.default_rng(0).integers(0, 256, (28, 28), np.uint8)),
}
CARRY = """([name, type, bytes]) => {
  const carried = new DataTransfer();
  carried.items.add(new File([new Uint8Array(bytes)], name, {type}));
  return carried;
}"""


def served(url: str, picture: bytes, query: str = "") -> dict[str, Any]:
    """Ask the service without the page."""
    answer: dict[str, Any] = httpx2.post(f"{url}/predict{query}", content=picture, timeout=30).json()
    return answer


def open_with(page: Page, *files: Any) -> None:  # noqa: ANN401  paths, or files as Playwright takes them
    page.goto("/")
    page.set_input_files("#choose", list(files))


def expect_answer(page: Page, answer: dict[str, Any]) -> None:
    """Expect the page to show the answer of the service."""
    said = page.locator("#status")
    expect(said).to_contain_text(answer["prediction"]["label"])
    if answer["familiar"]:
        ranked = sorted(answer["probabilities"], key=lambda one: -one["probability"])
        expect(page.locator(".bars .label")).to_have_text([one["label"] for one in ranked])
        expect(page.locator(".bars .named .label")).to_have_text(answer["prediction_set"])
        expect(page.locator(".verdict")).to_contain_text(answer["prediction"]["label"])
    else:
        expect(page.locator(".verdict")).to_have_text("Unlike anything it knows")
        expect(page.locator(".bars, .note")).to_have_count(0)  # numbers that would contradict it
        expect(said).to_contain_text("do not rely on it")


def flaws(page: Page, *excepted: str) -> list[str]:
    """Return what axe-core finds, by rule and place, with some rules disabled."""
    found = Axe().run(page, options={"rules": {rule: {"enabled": False} for rule in excepted}}).response["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


def test_a_chosen_picture_is_shown_with_its_garment_what_the_model_saw_and_the_answer(page: Page, url: str) -> None:
    open_with(page, SWEATER)
    answer = served(url, SWEATER.read_bytes(), "?preview=true")
    expect_answer(page, answer)
    expect(page.locator("img.pixels")).to_have_attribute("src", answer["preview"])
    expect(page.locator(".steps li")).to_have_count(len(answer["conversion"]["steps"]))
    expect(page.locator("#caption")).to_have_text(re.compile(r"^sweater\.jpg · 600 × 760 · \d+ KiB$"))
    facts = httpx2.get(f"{url}/model").json()
    (sets,) = (one for one in facts["card"]["prediction_sets"] if one["coverage"] == facts["coverage"])
    expect(page.locator(".sure")).to_contain_text(
        f"For photographs, the right one is among those that fit {100 * sets['photos_coverage']:.0f} times in 100."
    )
    expect(page.locator(".note")).to_contain_text(f"Of {facts['card']['photos']['held_out']} photographs")
    keep(page, "answer")
    page.set_viewport_size({"width": 1280, "height": 930})
    keep(page, "page", whole=False)  # docs/page.png, for the README


def test_a_sideways_photograph_from_a_phone_is_shown_small_and_upright_with_the_box_around_its_garment(
    page: Page,
) -> None:
    upright = photograph(scale=5)  # 12 megapixels
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture = encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif.tobytes())
    open_with(page, {"name": "IMG 1.jpg", "mimeType": "image/jpeg", "buffer": picture})
    expect(page.locator(".sure")).to_be_visible()
    expect(page.locator("#caption")).to_contain_text(f"{upright.width} × {upright.height}")
    assert page.locator("#frame img").evaluate("image => Math.max(image.naturalWidth, image.naturalHeight)") == 1200
    expect_box_around_the_garment(page)


def expect_box_around_the_garment(page: Page) -> None:
    shown, box = page.locator("#frame img").bounding_box(), page.locator(".box").bounding_box()
    assert shown
    assert box
    scale = shown["width"] / 605
    left, top = (box["x"] - shown["x"]) / scale, (box["y"] - shown["y"]) / scale
    right, bottom = left + box["width"] / scale, top + box["height"] / scale
    assert (left, top, right, bottom) == pytest.approx(tuple(GARMENT.values()), abs=8)


def test_the_box_is_around_the_garment_though_the_browser_reports_half_the_size_of_the_picture(page: Page) -> None:
    picture, exif = photograph(scale=2), Image.Exif()
    exif.update({ExifTags.Base.XResolution: 144.0, ExifTags.Base.YResolution: 144.0, ExifTags.Base.ResolutionUnit: 2})
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    tags[ExifTags.Base.ExifImageWidth], tags[ExifTags.Base.ExifImageHeight] = (side // 2 for side in picture.size)
    open_with(page, {"name": "dense.jpg", "mimeType": "image/jpeg", "buffer": encoded(picture, "JPEG", exif=exif)})
    expect(page.locator(".sure")).to_be_visible()
    assert page.locator("#frame img").evaluate("image => image.naturalWidth") == picture.width // 2
    expect_box_around_the_garment(page)


def test_a_picture_that_some_browsers_do_not_turn_has_no_box(page: Page) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 3
    turned = encoded(photograph().transpose(Image.Transpose.ROTATE_180), "WEBP", exif=exif.tobytes())
    open_with(page, {"name": "turned.webp", "mimeType": "image/webp", "buffer": turned})
    expect(page.locator(".steps")).to_contain_text("Turned upright")
    expect(page.locator("#frame img")).to_be_visible()
    expect(page.locator(".box")).to_have_count(0)


def paste(page: Page, file: FilePayload) -> None:
    carried = page.evaluate_handle(CARRY, [file["name"], file["mimeType"], list(file["buffer"])])
    page.evaluate(
        "carried => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: carried, bubbles: true}))",
        carried,
    )


def test_a_pasted_picture_is_answered(page: Page, url: str) -> None:
    page.goto("/")
    paste(page, NOISE)
    answer = served(url, NOISE["buffer"])
    expect_answer(page, answer)
    *most, last = (one["label"] for one in answer["probabilities"])
    expect(page.locator("#answer")).to_contain_text(f"It knows {', '.join(most)} and {last}, and calls about 1 in")
    keep(page, "unfamiliar")


def test_a_dropped_picture_is_answered(page: Page, url: str) -> None:
    page.goto("/")
    carried = page.evaluate_handle(CARRY, ["sweater.jpg", "image/jpeg", list(SWEATER.read_bytes())])
    body = page.locator("body")
    for target, end in (
        ("main", "dragleave"),
        ("main", "dragend"),
        (".curtain", "dragleave"),
        (".curtain", "pointermove"),
    ):
        page.dispatch_event("main", "dragover", {"dataTransfer": carried})
        expect(body).to_have_class("dropping")
        assert page.evaluate("document.elementFromPoint(innerWidth / 2, innerHeight / 2).className") == "curtain"
        page.dispatch_event(target, end)
        expect(body).to_have_class("")
    page.dispatch_event("main", "dragover", {"dataTransfer": carried})
    page.dispatch_event(".curtain", "drop", {"dataTransfer": carried})
    expect(body).to_have_class("has-picture")
    expect_answer(page, served(url, SWEATER.read_bytes()))


def test_a_picture_dragged_from_another_page_says_what_to_do_and_keeps_the_answers(page: Page) -> None:
    open_with(page, SWEATER)
    expect(page.locator(".bars li")).to_have_count(10)
    page.evaluate("""
      const carried = new DataTransfer();
      carried.setData("text/uri-list", "https://example.com/shirt.jpg");
      window.left = ["dragover", "drop"].filter((kind) => document.querySelector("main").dispatchEvent(
        new DragEvent(kind, { dataTransfer: carried, bubbles: true, cancelable: true })));
    """)
    assert page.evaluate("left") == []  # the browser would open what the page does not prevent
    expect(page.get_by_role("alert")).to_contain_text("Save the picture first")
    expect(page.locator(".bars li")).to_have_count(10)
    page.set_input_files("#choose", NOISE)
    expect(page.locator("#drop-problem")).to_be_hidden()


def test_pasting_text_says_what_to_do_each_time(page: Page) -> None:
    page.goto("/")
    page.evaluate("""
      window.told = 0;
      new MutationObserver((changes) => {
        told += changes.filter(({ target }) => !target.hidden).length;
      }).observe(document.querySelector("#drop-problem"), { attributeFilter: ["hidden"] });
    """)
    for count in (1, 2):
        page.evaluate("""
          const clipboardData = new DataTransfer();
          clipboardData.setData("text/plain", "https://example.com/shirt.jpg");
          document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
        """)
        expect(page.get_by_role("alert")).to_contain_text("Save the picture first")
        page.wait_for_function(f"told >= {count}")


def test_a_picture_chosen_before_the_scripts_have_loaded_is_answered(page: Page, url: str) -> None:
    held: list[Route] = []
    page.route("**/web/words.js", lambda route: held.append(route))  # noqa: PLW0108  Playwright cannot wrap a list's
    page.goto("/", wait_until="commit")
    page.set_input_files("#choose", SWEATER)
    expect(page.locator("#result")).to_be_hidden()
    for one in held:
        one.continue_()
    expect_answer(page, served(url, SWEATER.read_bytes()))


def test_a_screen_reader_hears_what_is_shown(page: Page, url: str) -> None:
    open_with(page, SWEATER)
    said = page.locator("#status")
    label = served(url, SWEATER.read_bytes())["prediction"]["label"]
    expect(said).to_contain_text(label)
    expect(said).to_contain_text("times in 100")  # once the page knows the coverage
    of_auto = said.inner_text()
    page.get_by_text("Only resize").click()
    expect(page.locator("pre").first).to_contain_text("conversion=none")
    expect(said).not_to_have_text(of_auto)
    expect(said).not_to_have_text("Looking at it …")
    page.locator("label", has_text="Auto").click()  # answered already, so not asked again
    expect(said).to_have_text(of_auto)
    page.set_input_files("#choose", [SWEATER, WEB / "samples" / "boot.png"])
    expect(said).to_have_text(re.compile(rf"^sweater\.jpg: {label}, .*\. 2 of 2 pictures answered$"))
    page.get_by_role("button", name="boot.png").click()
    expect(said).to_have_text(re.compile(r"^boot\.png: .*Ankle boot, "))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_each_sample_is_answered(page: Page, url: str, sample: Path) -> None:
    page.goto("/")
    page.click(f"[data-sample='{sample.name}']")
    expect_answer(page, served(url, sample.read_bytes()))


def test_a_sample_that_loads_slowly_yields_to_what_was_chosen_after_it(page: Page, url: str) -> None:
    held: list[Route] = []
    page.goto("/")
    page.wait_for_load_state("networkidle")
    page.route("**/web/samples/cup.jpg", lambda route: held.append(route))  # noqa: PLW0108  Playwright marks the function
    with page.expect_request("**/web/samples/cup.jpg"):
        page.click("[data-sample='cup.jpg']")
    page.set_input_files("#choose", NOISE)
    expect_answer(page, served(url, NOISE["buffer"]))
    with page.expect_event("requestfinished"):
        held[0].continue_()
    page.wait_for_load_state("networkidle")
    expect(page.locator("#caption")).to_contain_text("noise.png")


@pytest.mark.parametrize(
    "refuse", [lambda route: route.fulfill(status=503), lambda route: route.abort()], ids=["refused", "cut off"]
)
def test_a_sample_that_cannot_be_loaded_is_reported_and_not_sent(
    page: Page, url: str, refuse: Callable[[Route], None]
) -> None:
    page.goto("/")
    page.wait_for_load_state("networkidle")
    page.route("**/web/samples/*", refuse)
    page.click("[data-sample='boot.png']")
    expect(page.locator("#sample-problem")).to_be_visible()
    expect(page.locator("#result")).to_be_hidden()
    assert flaws(page) == []
    keep(page, "sample-problem")
    page.unroute("**/web/samples/*")
    page.click("[data-sample='boot.png']")
    expect(page.locator("#sample-problem")).to_be_hidden()
    expect_answer(page, served(url, (WEB / "samples" / "boot.png").read_bytes()))


def test_a_picture_that_cannot_be_shown_does_not_keep_the_next_from_being_shown(page: Page) -> None:
    page.add_init_script("HTMLCanvasElement.prototype.toBlob = (done) => done(null)")  # as when memory is short
    open_with(page, {"name": "large.png", "mimeType": "image/png", "buffer": encoded(photograph(scale=2))}, NOISE)
    expect(page.locator("#caption")).to_contain_text("large.png")
    expect(page.locator("#frame")).to_have_text("The browser cannot show this file.")
    expect(page.get_by_role("button", name="noise.png").locator("img")).to_be_visible()


def test_a_picture_from_the_camera_is_answered(page: Page) -> None:
    page.goto("/")
    page.press("#open-camera", "Enter")
    expect(page.locator("#shoot")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".sure")).to_be_visible()
    expect(page.locator("#caption")).to_contain_text("camera.jpg")
    expect(page.locator("#camera")).to_be_hidden()


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        ("NotAllowedError", "The browser was not allowed to use the camera."),
        ("NotReadableError", "Another program may be using the camera."),
        ("NotFoundError", "No camera responds."),
    ],
)
def test_a_camera_that_fails_is_told_why(page: Page, failure: str, told: str) -> None:
    page.goto("/")
    fails = f"async () => {{ throw new DOMException('', '{failure}') }}"
    page.evaluate(f"() => {{ navigator.mediaDevices.getUserMedia = {fails} }}")
    page.click("#open-camera")
    expect(page.locator("#camera-problem")).to_contain_text(told)
    expect(page.locator("#shoot")).to_be_disabled()


def test_a_camera_that_is_unplugged_takes_no_picture(page: Page) -> None:
    page.goto("/")
    page.click("#open-camera")
    expect(page.locator("#shoot")).to_be_enabled()
    page.evaluate("document.getElementById('video').srcObject.getTracks()[0].dispatchEvent(new Event('ended'))")
    expect(page.locator("#camera-problem")).to_have_text("The camera has stopped. Connect it, then open this again.")
    expect(page.locator("#shoot")).to_be_disabled()
    page.click("#close-camera")
    page.click("#open-camera")
    expect(page.locator("#shoot")).to_be_enabled()
    expect(page.locator("#camera-problem")).to_be_hidden()


def test_pasting_a_picture_closes_the_camera(page: Page, url: str) -> None:
    page.goto("/")
    page.click("#open-camera")
    expect(page.locator("#shoot")).to_be_enabled()
    paste(page, NOISE)
    expect(page.locator("#camera")).to_be_hidden()
    assert page.evaluate("document.getElementById('video').srcObject") is None
    expect_answer(page, served(url, NOISE["buffer"]))


def test_a_camera_that_answers_late_is_not_left_on(page: Page) -> None:
    page.add_init_script("""
      const devices = navigator.mediaDevices, ask = devices.getUserMedia.bind(devices);
      window.streams = [];
      window.consents = [];
      devices.getUserMedia = async (wanted) => {
        await new Promise((resolve) => consents.push(resolve));
        streams.push(await ask(wanted));
        return streams.at(-1);
      };
    """)
    page.goto("/")
    page.click("#open-camera")
    page.click("#close-camera")
    page.click("#open-camera")
    page.evaluate("consents.forEach((consent) => consent())")
    expect(page.locator("#shoot")).to_be_enabled()
    page.click("#shoot")
    expect(page.locator(".sure")).to_be_visible()
    states = page.evaluate("streams.flatMap((stream) => stream.getTracks()).map((track) => track.readyState)")
    assert states == ["ended", "ended"]


def test_switching_the_conversion_asks_again_and_keeps_each_answer_beside_its_mode(page: Page, url: str) -> None:
    open_with(page, SWEATER)
    expect_answer(page, served(url, SWEATER.read_bytes()))
    page.get_by_text("Only resize").click()
    answer = served(url, SWEATER.read_bytes(), "?conversion=none")
    expect_answer(page, answer)
    expect(page.locator(".steps li").last).to_have_text("Squeezed to 28 × 28 pixels, whatever it shows")
    expect(page.locator(".box")).to_have_count(0)
    for mode, query in (("auto", ""), ("none", "?conversion=none")):
        answer = served(url, SWEATER.read_bytes(), query)
        label = answer["prediction"]["label"] if answer["familiar"] else "Unfamiliar"
        expect(page.locator(f"input[value={mode}] + span small")).to_contain_text(label)
    keep(page, "only-resized")


def test_only_resizing_is_named_as_a_reason_why_a_photograph_is_unfamiliar(page: Page) -> None:
    open_with(page, SWEATER)
    expect(page.locator(".sure")).to_be_visible()
    page.get_by_text("Only resize").click()
    expect(page.locator("#status")).to_contain_text("choose Auto: only resizing seldom suits a photograph.")


def test_a_problem_met_in_a_mode_is_out_of_date_when_the_mode_is_chosen_again(page: Page) -> None:
    refusal = {"title": "Service overloaded", "detail": "Try again later.", "code": "overloaded"}
    page.route(
        "**/predict?*conversion=none*",
        lambda route: route.fulfill(status=503, headers={"Retry-After": "20"}, json=refusal),
        times=1,
    )
    open_with(page, SWEATER)
    expect(page.locator(".sure")).to_be_visible()
    page.get_by_text("Only resize").click()
    expect(page.locator(".problem")).to_contain_text("Service overloaded")
    page.locator("label", has_text="Auto").click()
    expect(page.locator(".sure")).to_be_visible()
    page.route("**/predict?*", lambda _: None)  # never answered
    page.get_by_text("Only resize").click()
    expect(page.locator("#status")).to_have_text("Looking at it …")
    expect(page.locator(".problem")).to_have_count(0)


def test_several_pictures_become_a_gallery_even_when_the_service_is_overloaded(page: Page, url: str) -> None:
    pictures = [{"name": one.name, "mimeType": "image/*", "buffer": one.read_bytes()} for one in SAMPLES]
    open_with(page, *pictures, TEXT)
    count = len(SAMPLES)
    expect(page.locator("#gallery-title")).to_have_text(f"{count} of {count + 1} pictures answered, 1 not")
    page.get_by_role("button", name="sweater.jpg").click()
    expect(page.locator("#caption")).to_contain_text("sweater.jpg")
    expect(page.locator(".verdict")).to_contain_text(served(url, SWEATER.read_bytes())["prediction"]["label"])
    assert flaws(page) == []
    keep(page, "gallery")


def test_a_gallery_can_be_saved_as_csv_and_json(page: Page, url: str) -> None:
    formula: FilePayload = {"name": '=1+1,"x".png', "mimeType": "image/png", "buffer": NOISE["buffer"]}
    open_with(page, formula, TEXT)
    expect(page.locator("#gallery-title")).to_have_text("1 of 2 pictures answered, 1 not")
    saved = []
    for button in ("#save-csv", "#save-json"):
        with page.expect_download() as download:
            page.click(button)
        saved.append(download.value.path().read_bytes().decode("utf-8-sig"))
    answer = served(url, NOISE["buffer"])
    first, second = csv.DictReader(io.StringIO(saved[0], newline=""))
    assert first["filename"] == '\'=1+1,"x".png'
    assert first["label"] == answer["prediction"]["label"]
    assert [float(first[one["label"]]) for one in answer["probabilities"]] == [
        one["probability"] for one in answer["probabilities"]
    ]
    assert tuple(first)[: len(CSV_COLUMNS)] == CSV_COLUMNS  # as on the command line
    assert (first["conversion"], first["prediction_set"]) == ("auto", "|".join(answer["prediction_set"]))
    refused = {key: served(url, TEXT["buffer"])[key] for key in ("title", "detail", "code")}
    assert second["error"] == f"{refused['code']}: {refused['detail']}"
    assert json.loads(saved[1]) == [
        {"filename": formula["name"], "result": answer},
        {"filename": "notes.txt", "problem": refused},
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"a boot"),
        ("broken.png", SWEATER.read_bytes()[:5000]),
        ("wide.png", encoded(Image.new("L", (10_000, 6_000)))),
    ],
    ids=["no image", "damaged", "too many pixels"],
)
def test_a_problem_is_shown_in_the_service_s_own_words_and_the_picture_is_kept(
    page: Page, url: str, name: str, content: bytes
) -> None:
    open_with(page, {"name": name, "mimeType": "application/octet-stream", "buffer": content})
    problem = served(url, content)
    expect(page.locator(".problem")).to_have_text(f"{problem['title']}{problem['detail']}")
    expect(page.locator("#status")).to_have_text(f"{problem['title']}. {problem['detail']}")
    expect(page.locator("#caption")).to_contain_text(name)
    assert flaws(page) == []
    keep(page, f"problem-{name.partition('.')[0]}")


def test_an_overloaded_service_is_asked_again_after_the_time_that_it_names(page: Page, url: str) -> None:
    waits = ["2", "3"]

    def refuse_twice(route: Route) -> None:
        if waits:
            refusal = {"title": "Service overloaded", "detail": "Try again later.", "code": "overloaded"}
            route.fulfill(status=503, headers={"Retry-After": waits.pop()}, json=refusal)
        else:
            route.continue_()

    page.add_init_script("""
      addEventListener("DOMContentLoaded", () => {
        window.heard = [];
        new MutationObserver(() => heard.push(document.querySelector("#status").textContent))
          .observe(document.querySelector("#status"), { childList: true });
      });
    """)
    page.route("**/predict?*", refuse_twice)
    page.clock.install()
    page.goto("/")
    page.clock.pause_at(datetime.now(UTC) + timedelta(minutes=1))
    page.set_input_files("#choose", SWEATER)
    expect(page.locator(".problem")).to_contain_text("Try again later.")
    wait, again = page.locator("#wait"), page.get_by_role("button", name="Try again")
    for left in ("3 seconds", "2 seconds", "1 second"):
        expect(wait).to_have_text(f"Trying again in {left}.")
        if left == "2 seconds":
            keep(page, "overloaded")
            again.focus()
        page.clock.run_for(1000)
    expect(wait).to_have_text("Trying again in 2 seconds.")  # as the second refusal says
    expect(again).to_be_focused()
    page.clock.run_for(1000)
    expect(wait).to_have_text("Trying again in 1 second.")
    page.clock.run_for(1000)
    expect_answer(page, served(url, SWEATER.read_bytes()))
    expect(page.locator("#answer")).to_be_focused()  # the button is gone
    told = [text for text in page.evaluate("heard") if "overloaded" in text]
    assert told == ["Service overloaded. Try again later. Trying again automatically."]


def test_a_service_out_of_reach_is_asked_again_when_it_is_back(page: Page, url: str) -> None:
    page.goto("/")
    page.wait_for_load_state("networkidle")
    page.context.set_offline(True)
    page.set_input_files("#choose", SWEATER)
    expect(page.locator(".problem")).to_contain_text("The service cannot be reached")
    expect(page.locator("#frame img")).to_be_visible()
    keep(page, "offline")
    page.context.set_offline(False)
    expect_answer(page, served(url, SWEATER.read_bytes()))


def test_a_gallery_goes_on_by_itself_when_the_service_is_back(page: Page) -> None:
    asked: set[bytes | None] = set()

    def gone(route: Route) -> None:
        asked.add(route.request.post_data_buffer)
        route.abort()

    page.route("**/predict?*", gone)
    levels = (encoded(np.full((28, 28), level, np.uint8)) for level in range(20))
    open_with(page, *({"name": f"{n}.png", "mimeType": "image/png", "buffer": level} for n, level in enumerate(levels)))
    expect(page.locator(".problem")).to_contain_text("The service cannot be reached")
    expect(page.locator("#wait")).to_contain_text("Trying again in")
    assert 0 < len(asked) <= 4  # the rest wait until the service is back
    page.unroute("**/predict?*")
    expect(page.locator("#gallery-title")).to_have_text("20 of 20 pictures answered", timeout=20_000)


def test_the_page_asks_about_the_model_again_after_a_failure(page: Page) -> None:
    page.route("**/model", lambda route: route.fulfill(status=503, body=""))
    page.goto("/")
    page.wait_for_load_state("networkidle")
    expect(page.locator("#limits")).not_to_contain_text("up to")
    page.unroute("**/model")
    page.set_input_files("#choose", SWEATER)
    expect(page.locator("#limits")).to_contain_text("up to 10 MiB each")
    expect(page.locator(".sure")).to_contain_text("For photographs")


def test_a_request_that_is_never_answered_can_be_tried_again(page: Page, url: str) -> None:
    page.clock.install()
    page.route("**/predict?*", lambda _: None)
    with page.expect_request("**/predict?*"):
        open_with(page, SWEATER)
    page.clock.run_for(120_000)
    expect(page.locator(".problem")).to_contain_text("No answer came in time")
    page.unroute("**/predict?*")
    page.get_by_role("button", name="Try again").click()
    expect_answer(page, served(url, SWEATER.read_bytes()))


def test_an_error_of_the_page_itself_is_told_and_can_be_tried_again(page: Page, url: str) -> None:
    page.add_init_script(
        "window.really = fetch; window.fetch = () => { throw new Error('a newer browser is needed'); }"
    )
    open_with(page, SWEATER)
    told = "This page has failedError: a newer browser is needed. Reload it, or try another browser."
    expect(page.locator(".problem")).to_contain_text(told)
    page.evaluate("window.fetch = really")
    page.get_by_role("button", name="Try again").click()
    expect_answer(page, served(url, SWEATER.read_bytes()))


def test_a_picture_over_the_limit_is_sent_as_a_smaller_copy(page: Page, tmp_path: Path) -> None:
    with Image.open(SWEATER) as sweater:
        sweater.resize((2400, 3040)).save(tmp_path / "large.bmp")  # 22 MB
    page.goto("/")
    expect(page.locator("#limits")).to_contain_text("up to 10 MiB each")
    with page.expect_request("**/predict?*") as asked:
        page.set_input_files("#choose", tmp_path / "large.bmp")
    assert asked.value.headers["content-type"] == "image/jpeg"
    expect(page.locator(".verdict")).to_contain_text("Pullover")
    expect(page.locator(".steps li").first).to_have_text("Sent as a smaller copy, since the file is over the limit")
    expect(page.locator(".box")).to_be_visible()


def test_a_picture_over_the_limit_that_cannot_be_shown_is_not_sent_and_refused_in_plain_words(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method))
    page.goto("/")
    expect(page.locator("#limits")).to_contain_text("up to 10 MiB each")
    large: FilePayload = {"name": "large.png", "mimeType": "image/png", "buffer": bytes(11_000_000)}
    page.set_input_files("#choose", large)
    told = "The picture is too largeIt has 10.5 MiB; the limit is 10 MiB. Send a smaller one."
    expect(page.locator(".problem")).to_have_text(told)
    expect(page.locator("#seen")).to_have_text("Nothing.")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    assert "POST" not in asked


def test_trying_again_by_hand_works_too(page: Page, url: str) -> None:
    page.route("**/predict?*", lambda route: route.abort())
    open_with(page, SWEATER)
    expect(page.locator(".problem")).to_contain_text("The service cannot be reached")
    page.unroute("**/predict?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#answer")).to_be_focused()
    expect_answer(page, served(url, SWEATER.read_bytes()))


def test_a_permanent_refusal_is_not_retried(page: Page, url: str) -> None:
    asked: list[bytes | None] = []

    def fail_first(route: Route) -> None:
        asked.append(route.request.post_data_buffer)
        if asked.count(b"first") == 1 and asked[-1] == b"first":
            route.fulfill(status=500, json={"title": "Failed", "detail": "Try again later.", "code": "internal"})
        else:
            route.continue_()

    page.route("**/predict?*", fail_first)
    open_with(page, {"name": "first.txt", "mimeType": "text/plain", "buffer": b"first"}, TEXT)
    expect(page.locator("#gallery-title")).to_have_text("0 of 2 pictures answered, 2 not")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".problem")).to_contain_text(served(url, b"first")["detail"])
    page.get_by_text("As a photo").click()
    expect(page.locator("#status")).to_contain_text("0 of 2 pictures answered")
    page.locator("label", has_text="Auto").click()
    expect(page.locator("#status")).to_contain_text("first.txt: Unsupported image format")
    assert len(asked) == 2 + 1 + 2


@pytest.mark.parametrize("status", [200, 408, 429])
def test_a_failure_that_may_pass_can_be_tried_again(page: Page, url: str, status: int) -> None:
    page.route("**/predict?*", lambda route: route.fulfill(status=status, body='{"predi'))
    open_with(page, SWEATER)
    expect(page.locator(".problem")).to_contain_text(f"The status is {status}.")
    page.unroute("**/predict?*")
    page.get_by_role("button", name="Try again").click()
    expect_answer(page, served(url, SWEATER.read_bytes()))


def test_on_a_slow_line_pictures_are_sent_one_at_a_time_and_those_cut_off_are_sent_once_more(page: Page) -> None:
    page.add_init_script("""
      const send = window.fetch;
      let sending = 0;
      window.atATime = [];
      window.fetch = async (address, options) => {
        if (!address.startsWith("predict")) return send(address, options);
        sending += 1;
        atATime.push(sending);
        return send(address, options).finally(() => { sending -= 1; });
      };
    """)
    slow: list[Route] = []

    def cut_off_together(route: Route) -> None:
        slow.append(route)
        if len(slow) == 4:
            for one in slow:
                one.fulfill(status=408, json={"title": "Too slow", "detail": "Send less.", "code": "too_slow"})
        if len(slow) > 4:
            route.continue_()

    page.route("**/predict?*", cut_off_together)
    open_with(page, *SAMPLES)
    expect(page.locator("#gallery-title")).to_have_text(f"{len(SAMPLES)} of {len(SAMPLES)} pictures answered")
    assert page.evaluate("atATime") == [1, 2, 3, 4] + [1] * len(SAMPLES)
    page.unroute("**/predict?*")
    page.get_by_text("Only resize").click()
    expect(page.locator("#gallery-title")).to_have_text(f"{len(SAMPLES)} of {len(SAMPLES)} pictures answered")
    sent = page.evaluate("atATime.length")
    page.set_input_files("#choose", SAMPLES)
    expect(page.locator("#gallery-title")).to_have_text(f"{len(SAMPLES)} of {len(SAMPLES)} pictures answered")
    assert max(page.evaluate("atATime.slice(4)")[: sent - 4]) == 1
    assert max(page.evaluate("atATime")[sent:]) == 4  # others may find a better line


def python(lines: str) -> list[str]:
    """Return the command that runs Python lines of the page, with httpx2, which the tests have, as httpx."""
    return [sys.executable, "-c", lines.replace("import httpx\n", "import httpx2 as httpx\n")]


@pytest.mark.parametrize("way", ["chosen", "sample"])
@pytest.mark.parametrize("language", ["curl", "Python"])
def test_the_lines_to_copy_give_the_same_answer(page: Page, url: str, tmp_path: Path, language: str, way: str) -> None:
    if language == "curl" and not shutil.which("curl"):
        pytest.skip("needs curl")
    if way == "chosen":
        name = "it's mine.jpg"
        (tmp_path / name).write_bytes(SWEATER.read_bytes())
        open_with(page, tmp_path / name)
    else:
        page.goto("/")
        page.click("[data-sample='sweater.jpg']")
    page.get_by_text("Only resize").click()
    expect(page.locator("pre").first).to_contain_text("conversion=none")
    lines = page.get_by_role("region", name=f"{language} lines").inner_text()
    assert page.locator("pre").first.evaluate("lines => lines.scrollWidth <= lines.clientWidth")
    command = ["sh", "-c", f"{lines} -s"] if language == "curl" else python(lines)
    direct = os.environ | {"no_proxy": "*"}
    answer = served(url, SWEATER.read_bytes(), "?conversion=none")
    expect_answer(page, answer)  # the page now sends nothing more, so the service has room for the command
    done = subprocess.run(command, cwd=tmp_path, env=direct, capture_output=True, text=True, check=True)
    label = answer["prediction"]["label"]
    assert (json.loads(done.stdout)["prediction"]["label"] if language == "curl" else done.stdout.strip()) == label


def test_the_python_lines_of_a_refused_file_say_why_it_is_refused(page: Page, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_bytes(b"a boot")
    open_with(page, tmp_path / "notes.png")
    expect(page.locator(".problem")).to_be_visible()
    lines = page.get_by_role("region", name="Python lines").inner_text()
    direct = os.environ | {"no_proxy": "*"}
    done = subprocess.run(python(lines), cwd=tmp_path, env=direct, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Expected an image as PNG")


def test_the_javascript_of_the_documentation_gives_the_answer(page: Page, url: str) -> None:
    (code,) = re.findall(r"^```javascript\n(.*?)^```", USAGE.read_text(), re.MULTILINE | re.DOTALL)
    page.goto("/classes")  # of the same origin, and without a script of its own
    page.evaluate("document.body.innerHTML = '<input type=file>'")
    page.set_input_files("input", SWEATER)
    code = code.replace("http://localhost:8000", url) + "return answer;"
    answer = page.evaluate(f"async () => {{ const input = document.querySelector('input'); {code} }}")
    assert answer["prediction"] == served(url, SWEATER.read_bytes())["prediction"]


def test_the_keyboard_alone_is_enough(page: Page, url: str) -> None:
    page.goto("/")

    def tab_to(selector: str) -> None:
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.locator(selector).evaluate("element => element === document.activeElement"):
                return
        pytest.fail(f"the Tab key never reaches {selector}")

    tab_to("#choose")
    keep(page, "focus", whole=False)
    tab_to("[data-sample='boot.png']")
    page.keyboard.press("Enter")
    boot = (WEB / "samples" / "boot.png").read_bytes()
    expect_answer(page, served(url, boot))
    tab_to("input[value=auto]")
    page.keyboard.press("ArrowRight")
    expect(page.locator("input[value=photo]")).to_be_checked()
    expect_answer(page, served(url, boot, "?conversion=photo"))
    tab_to("#snippets button >> nth=0")
    page.keyboard.press("Enter")
    expect(page.locator("#snippets button").first).to_have_text(re.compile("Copied|Selected"))
    expect(page.locator("#status")).to_have_text(re.compile(r"The curl lines are (copied|selected)\."))


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [
        ("phone", 360, 740, "light"),
        ("phone", 360, 740, "dark"),
        ("desktop", 1280, 860, "light"),
        ("4k", 3840, 2160, "light"),
    ],
)
def test_the_pages_fit_every_screen_and_axe_finds_nothing(
    browser: Browser, url: str, name: str, width: int, height: int, scheme: Literal["light", "dark"]
) -> None:
    def look(what: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width, what
        assert flaws(page) == [], what
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", ground))) < 64) == (scheme == "dark")
        keep(page, f"{name}-{scheme}-{what}", whole=name != "4k")

    screen = PHONE if name == "phone" else {"viewport": {"width": width, "height": height}}
    with browser.new_context(base_url=url, color_scheme=scheme, reduced_motion="reduce", **screen) as context:
        page = context.new_page()
        page.goto("/")
        page.wait_for_load_state("networkidle")
        look("start")
        page.click("[data-sample='sweater.jpg']")
        expect(page.locator(".bars li")).to_have_count(10)
        look("answer")
        page.set_input_files("#choose", SAMPLES)
        expect(page.locator("#gallery-title")).to_have_text(f"{len(SAMPLES)} of {len(SAMPLES)} pictures answered")
        look("gallery")
        page.goto("/model")
        look("model")


def test_on_a_laptop_choosing_one_of_many_pictures_brings_its_answer_into_view(page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")  # a smooth scroll could still be under way when measured
    page.set_viewport_size({"width": 1366, "height": 650})
    open_with(page, *SAMPLES * 3)
    count = 3 * len(SAMPLES)
    expect(page.locator("#gallery-title")).to_have_text(f"{count} of {count} pictures answered")
    chosen, other = page.locator("#cells button").nth(1), page.locator("#cells button").nth(2)
    chosen.click()
    expect(page.locator(".verdict")).to_be_in_viewport()
    expect(chosen).to_be_focused()
    other.press("Enter")
    expect(page.locator("#answer")).to_be_focused()
    expect(page.locator(".verdict")).to_be_in_viewport()


@pytest.mark.parametrize("size", [(28, 84), (60, 90), (90, 60)])
def test_a_tiny_picture_keeps_its_proportions(page: Page, size: tuple[int, int]) -> None:
    width, height = size
    tiny: FilePayload = {
        "name": "a.png",
        "mimeType": "image/png",
        "buffer": encoded(np.zeros((height, width), np.uint8)),
    }
    open_with(page, tiny)
    expect(page.locator(".steps")).to_be_visible()
    for wide in (1280, 360):
        page.set_viewport_size({"width": wide, "height": 740})
        shown = page.locator("#frame img").bounding_box()
        assert shown
        assert shown["width"] / shown["height"] == pytest.approx(width / height, rel=0.02)


def test_a_picture_thinner_than_a_pixel_is_still_seen(page: Page) -> None:
    open_with(page, {"name": "line.png", "mimeType": "image/png", "buffer": encoded(np.zeros((3000, 2), np.uint8))})
    shown = page.locator("#frame img").bounding_box()
    assert shown
    assert shown["width"] >= 2


@pytest.mark.parametrize("path", ["/", "/model"])
def test_text_twice_as_large_fits_a_narrow_window(page: Page, path: str) -> None:
    page.set_viewport_size({"width": 320, "height": 740})
    page.goto(path)
    page.evaluate("document.documentElement.style.fontSize = '32px'")
    if path == "/":
        page.set_input_files("#choose", SAMPLES[-2:])
        page.get_by_role("button", name="sweater.jpg").click()
        bars = page.locator(".bar")
        expect(bars).to_have_count(10)
        assert bars.first.evaluate("bar => bar.clientWidth") > 40
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    keep(page, f"large-letters-{path.strip('/') or 'page'}")


@contextmanager
def slow_line(url: str, bytes_a_second: int) -> Iterator[tuple[str, bytearray]]:
    """Forward to a service, limiting the upload rate; yield the address, and all that was sent so far."""
    sent = bytearray()
    ends: list[socket.socket] = []
    service = urlsplit(url)

    def forward(source: socket.socket, sink: socket.socket, *, upwards: bool) -> None:
        with suppress(OSError):
            while piece := source.recv(bytes_a_second // 20 if upwards else 65536):
                if upwards:
                    sent.extend(piece)
                    time.sleep(len(piece) / bytes_a_second)
                sink.sendall(piece)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with suppress(OSError):
            while True:
                near, _ = door.accept()
                far = socket.create_connection((service.hostname, service.port))
                ends.extend((near, far))
                for source, sink in ((near, far), (far, near)):
                    ways = {"upwards": source is near}
                    threading.Thread(target=forward, args=(source, sink), kwargs=ways, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as door:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{door.getsockname()[1]}", sent
        door.shutdown(socket.SHUT_RDWR)
        for end in ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


def test_a_picture_that_takes_too_long_to_send_is_sent_once_and_reported(browser: Browser) -> None:
    large: FilePayload = {"name": "large.png", "mimeType": "image/png", "buffer": bytes(2**20)}
    with (
        serving(receive_seconds=1) as hasty,
        slow_line(f"http://127.0.0.1:{hasty.address[1]}", 200_000) as (address, sent),
        browser.new_context(base_url=address) as context,
    ):
        page = context.new_page()
        open_with(page, large)
        expect(page.locator(".problem")).to_contain_text("The body arrived too slowly")
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        assert sent.count(b"POST /predict") == 1


def test_one_picture_on_a_slow_line_is_sent_once(page: Page) -> None:
    asked: list[Route] = []

    def cut_off(route: Route) -> None:
        asked.append(route)
        route.fulfill(status=408, json={"title": "Too slow", "detail": "Send less.", "code": "too_slow"})

    page.route("**/predict?*", cut_off)
    open_with(page, SWEATER)
    expect(page.locator(".problem")).to_contain_text("Send less.")
    assert len(asked) == 1


def test_a_copy_button_keeps_the_focus_when_the_answer_comes(page: Page) -> None:
    held: list[Route] = []
    page.route("**/predict?*", lambda route: held.append(route))  # noqa: PLW0108  Playwright cannot wrap a list's
    with page.expect_request("**/predict?*"):
        open_with(page, SWEATER)
    copy = page.get_by_role("button", name="Copy the curl lines")
    copy.focus()
    expect(copy).to_be_focused()
    held[0].continue_()
    expect(page.locator(".bars li")).to_have_count(10)
    expect(copy).to_be_focused()


def test_a_phone_takes_a_picture_and_brings_what_is_tapped_into_view(browser: Browser, url: str) -> None:
    with browser.new_context(base_url=url, reduced_motion="reduce", **PHONE) as context:
        page = context.new_page()
        page.goto("/")
        expect(page.locator("#open-camera")).to_be_hidden()
        with page.expect_file_chooser() as chooser:
            page.get_by_text("Take a picture").tap()
        chooser.value.set_files(SWEATER)
        expect_answer(page, served(url, SWEATER.read_bytes()))
        expect(page.locator("#frame img")).to_be_in_viewport()
        expect(page.locator(".verdict")).to_be_in_viewport(ratio=1)
        page.set_input_files("#choose", SAMPLES)
        expect(page.locator("#gallery")).to_be_in_viewport()
        expect(page.locator("#frame img")).not_to_be_in_viewport()
        page.locator("#cells button").nth(1).tap()
        expect(page.locator("#caption")).to_contain_text(SAMPLES[1].name)
        expect(page.locator("#frame img")).to_be_in_viewport()


def test_without_scripts_nothing_that_needs_them_is_shown(browser: Browser, url: str) -> None:
    with browser.new_context(base_url=url, java_script_enabled=False) as context:
        page = context.new_page()
        page.goto("/")
        expect(page.locator("button:visible, input:visible")).to_have_count(0)
        expect(page.locator(".problem pre")).to_be_visible()
        keep(page, "no-scripts", whole=False)
        page.locator(".problem a").click()
        expect(page.locator(".headlines")).to_be_visible()


def test_forced_colours_keep_the_bars_and_what_is_chosen_visible(page: Page) -> None:
    page.emulate_media(forced_colors="active")
    open_with(page, SWEATER)
    expect(page.locator(".bars li")).to_have_count(10)
    ground = "element => getComputedStyle(element).backgroundColor"
    for drawn, beside in ((".bar span", ".bar"), ("input:checked + span", "input:not(:checked) + span")):
        assert page.locator(drawn).first.evaluate(ground) != page.locator(beside).first.evaluate(ground)
    keep(page, "forced-colours")
    page.set_input_files("#choose", SAMPLES[:2])
    width = "element => getComputedStyle(element).borderTopWidth"
    shown, other = (page.locator(f"#cells [aria-current={current}]") for current in ("true", "false"))
    assert shown.evaluate(width) != other.evaluate(width)


def test_no_probability_is_shown_as_100_per_cent(page: Page) -> None:
    page.goto("/")
    said = page.evaluate("import('/web/words.js').then(({percent}) => [0.0004, 0.9994, 0.9995, 1].map(percent))")
    assert said == ["< 0.1%", "99.9%", "> 99.9%", "> 99.9%"]


def answered(first: float, second: float, third: float = 0, **facts: Any) -> dict[str, Any]:  # noqa: ANN401  fields of an answer
    """Make an answer with these probabilities of Coat, Pullover and Shirt, and 0 for the others."""
    labels = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    given = {"Coat": first, "Pullover": second, "Shirt": third}
    entries = [{"label": label, "probability": given.get(label, 0)} for label in labels]
    return {
        "prediction": entries[4],
        "probabilities": entries,
        "prediction_set": ["Coat"],
        "familiar": True,
        "familiarity": 0.5,
        "conversion": {"mode": "catalogue", "steps": []},
        "preview": "data:,",
    } | facts


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            answered(0.98, 0.01),
            "For pictures like those in Fashion-MNIST, the right one is among those that fit 95 times in 100.",
        ),
        (answered(0.93, 0.04), "Not quite sure: Coat is right in about 93 of 100 such answers."),
        (
            answered(0.6, 0.38),
            "Not quite sure: Coat is right in about 60 of 100 such answers. Next comes Pullover (38.0%).",
        ),
        (
            answered(0.346, 0.326, 0.325),
            "Not sure: Coat is right in about 35 of 100 such answers. Next come Pullover (32.6%) and Shirt (32.5%).",
        ),
        (
            answered(0.5, 0.49, prediction_set=["Coat", "Pullover"]),
            "Coat or Pullover: 95 times in 100 it is one of these",
        ),
        (
            answered(0.374, 0.322, 0.304, prediction_set=["Coat", "Pullover"]),
            "Not sure: Coat or Pullover is right in about 70 of 100 such answers. Next comes Shirt (30.4%).",
        ),
    ],
    ids=["sure", "hardly less sure", "two are near", "three are near", "a set of two", "an improbable set of two"],
)
def test_the_page_says_how_sure_this_answer_is(page: Page, answer: dict[str, Any], told: str) -> None:
    page.route("**/predict?*", lambda route: route.fulfill(json=answer))
    page.goto("/")
    expect(page.locator("#limits")).to_contain_text("up to")  # so the coverage is known
    page.set_input_files("#choose", NOISE)
    expect(page.locator(".sure")).to_contain_text(told)
    expect(page.locator("#status")).to_contain_text(told)


def test_the_api_document_can_be_tried_with_the_picture_it_offers(page: Page, url: str) -> None:
    page.goto("/docs")
    page.get_by_role("button", name="post /predict", exact=True).click()
    page.get_by_role("button", name="Use this picture").click()
    # The script has to fetch the picture first.
    expect(page.locator("#swagger-ui input[type=file]")).not_to_have_value("")
    keep(page, "docs", whole=False)
    page.get_by_role("button", name="Execute").click()
    label = served(url, SWEATER.read_bytes())["prediction"]["label"]
    expect(page.locator(".live-responses-table .highlight-code").first).to_contain_text(f'"label": "{label}"')


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_api_document_is_as_light_or_dark_as_the_system_and_axe_finds_nothing_of_ours(
    page: Page, scheme: Literal["light", "dark"]
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto("/docs")
    expect(page.get_by_role("button", name="post /predict", exact=True)).to_be_visible()
    ground = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", ground)[:3])) in range(1, 64)) == (scheme == "dark")
    assert flaws(page, "color-contrast", "nested-interactive", "heading-order") == []  # Swagger's own


def give(page: Page, *keys: str | None) -> list[str]:
    """Answer each question for a key with the next one, None declines; return the questions, as they come."""
    asked: list[str] = []
    left = list(keys)

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        key = left.pop(0)
        dialog.accept(key) if key else dialog.dismiss()

    page.on("dialog", answer)
    return asked


@pytest.fixture(scope="module")
def locked_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the URL of a service that asks for a key, which is "open sesame"."""
    keys = tmp_path_factory.mktemp("locked") / "keys"
    keys.write_text(f"{digest('open sesame')} visitors\n")
    with listening(create_app(Settings(api_keys_file=keys), FirstPixelClassifier())) as url:
        yield url


def test_the_page_asks_for_a_key_once_for_many_pictures(browser: Browser, locked_url: str) -> None:
    with browser.new_context(base_url=locked_url) as context:
        page = context.new_page()
        asked = give(page, "open sesame")
        open_with(page, *SAMPLES)
        expect(page.locator("#gallery-title")).to_have_text(f"{len(SAMPLES)} of {len(SAMPLES)} pictures answered")
        assert asked == ["This service asks for a key."]
        expect(page.locator("#snippets pre").first).to_contain_text("-H 'X-API-Key: KEY'")


def test_a_key_is_kept_where_the_browser_blocks_storage(page: Page, url: str) -> None:
    page.add_init_script("""
      Object.defineProperty(window, "sessionStorage", {get() { throw new DOMException("blocked", "SecurityError"); }});
    """)

    def ask_for_key(route: Route) -> None:
        known = route.request.headers.get("x-api-key") == "open sesame"
        route.continue_() if known else route.fulfill(status=401, json={"detail": "Send a key.", "title": "No key"})

    asked = give(page, "open sesame")
    page.route("**/predict?*", ask_for_key)
    open_with(page, SWEATER)
    expect_answer(page, served(url, SWEATER.read_bytes()))
    page.set_input_files("#choose", NOISE)
    expect_answer(page, served(url, NOISE["buffer"]))
    expect(page.locator("#snippets pre").first).to_contain_text("-H 'X-API-Key: KEY'")
    assert asked == ["This service asks for a key."]


def test_a_declined_key_is_asked_for_again_only_by_hand_and_a_wrong_one_at_once(
    browser: Browser, locked_url: str
) -> None:
    with browser.new_context(base_url=locked_url) as context:
        page = context.new_page()
        asked = give(page, None, "“open sesame”", "close sesame", "open sesame")
        open_with(page, *SAMPLES)
        expect(page.locator("#gallery-title")).to_have_text(
            f"0 of {len(SAMPLES)} pictures answered, {len(SAMPLES)} not"
        )
        assert len(asked) == 1
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#gallery-title")).to_have_text(f"{len(SAMPLES)} of {len(SAMPLES)} pictures answered")
        assert [question.split(".")[0] for question in asked[1:]] == [
            "This service asks for a key",
            "That key has characters that no key has, such as curly quotes",
            "This service does not know that key",
        ]
