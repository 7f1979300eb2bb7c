"""The page at `/` in a real browser, against the real service."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Literal

import httpx2
import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import ExifTags, Image
from playwright.sync_api import expect

from app.keys import digest
from app.pages import WEB
from tests.app.test_main import service
from tests.app.test_routes import GARMENT, photograph
from tests.browser.conftest import keep
from tests.conftest import encoded

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Dialog, FilePayload, Page, Route

pytestmark = pytest.mark.browser

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
    """Expect what the service said about the picture to stand on the page."""
    expect(page.locator(".bars li")).to_have_count(10)
    ranked = sorted(answer["probabilities"], key=lambda one: -one["probability"])
    expect(page.locator(".bars .label")).to_have_text([one["label"] for one in ranked])
    expect(page.locator(".bars .named .label")).to_have_text(answer["prediction_set"] if answer["familiar"] else [])
    if answer["familiar"]:
        expect(page.locator(".verdict")).to_contain_text(answer["prediction"]["label"])
    else:
        expect(page.locator(".verdict")).to_have_text("Unlike anything it knows")
    expect(page.locator("#status")).to_contain_text(answer["prediction"]["label"])


def flaws(page: Page) -> list[str]:
    """Return what axe-core finds, by rule and place."""
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['target']} {node['failureSummary']}" for one in found for node in one["nodes"]]


def test_a_chosen_picture_is_shown_with_its_garment_what_the_model_saw_and_the_answer(page: Page, url: str) -> None:
    open_with(page, SWEATER)
    answer = served(url, SWEATER.read_bytes(), "?preview=true")
    expect_answer(page, answer)
    expect(page.locator("img.pixels")).to_have_attribute("src", answer["preview"])
    expect(page.locator(".steps li")).to_have_count(len(answer["conversion"]["steps"]))
    expect(page.locator("#caption")).to_have_text(re.compile(r"^sweater\.jpg · 600 × 760 · \d+ kB$"))
    coverage = httpx2.get(f"{url}/model").json()["coverage"]
    expect(page.locator(".sure")).to_contain_text(f"{100 * coverage:g} times in 100")
    keep(page, "answer")
    page.set_viewport_size({"width": 1280, "height": 930})
    keep(page, "page", whole=False)  # the README's: docs/page.png


def test_a_sideways_photograph_of_a_phone_is_shown_small_and_upright_with_the_box_around_its_garment(
    page: Page,
) -> None:
    upright = photograph(scale=5)  # 12 megapixels
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    picture = encoded(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif.tobytes())
    open_with(page, {"name": "IMG 1.jpg", "mimeType": "image/jpeg", "buffer": picture})
    expect(page.locator(".bars li")).to_have_count(10)
    expect(page.locator("#caption")).to_contain_text(f"{upright.width} × {upright.height}")
    assert page.locator("#frame img").evaluate("image => Math.max(image.naturalWidth, image.naturalHeight)") == 1200
    shown, box = page.locator("#frame img").bounding_box(), page.locator(".box").bounding_box()
    assert shown
    assert box
    scale = shown["width"] / 605
    left, top = (box["x"] - shown["x"]) / scale, (box["y"] - shown["y"]) / scale
    right, bottom = left + box["width"] / scale, top + box["height"] / scale
    assert (left, top, right, bottom) == pytest.approx(tuple(GARMENT.values()), abs=8)


def test_a_pasted_picture_is_answered(page: Page, url: str) -> None:
    page.goto("/")
    carried = page.evaluate_handle(CARRY, ["image.png", "image/png", list(NOISE["buffer"])])
    page.evaluate(
        "carried => document.dispatchEvent(new ClipboardEvent('paste', {clipboardData: carried, bubbles: true}))",
        carried,
    )
    expect_answer(page, served(url, NOISE["buffer"]))
    keep(page, "unfamiliar")


def test_a_dropped_picture_is_answered(page: Page, url: str) -> None:
    page.goto("/")
    carried = page.evaluate_handle(CARRY, ["sweater.jpg", "image/jpeg", list(SWEATER.read_bytes())])
    page.dispatch_event("main", "dragenter", {"dataTransfer": carried})
    expect(page.locator("body")).to_have_class("dropping")
    page.dispatch_event("main", "drop", {"dataTransfer": carried})
    expect(page.locator("body")).to_have_class("has-picture")
    expect_answer(page, served(url, SWEATER.read_bytes()))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.stem)
def test_each_sample_is_answered(page: Page, url: str, sample: Path) -> None:
    page.goto("/")
    page.click(f"[data-sample='{sample.name}']")
    expect_answer(page, served(url, sample.read_bytes()))


def test_a_picture_of_the_camera_is_answered(page: Page) -> None:
    page.goto("/")
    page.click("#open-camera")
    page.click("#shoot")
    expect(page.locator(".bars li")).to_have_count(10)
    expect(page.locator("#caption")).to_contain_text("camera.jpg")
    expect(page.locator("#camera")).to_be_hidden()


def test_the_switch_asks_anew_and_leaves_what_was_answered_beside_it(page: Page, url: str) -> None:
    open_with(page, SWEATER)
    expect_answer(page, served(url, SWEATER.read_bytes()))
    page.get_by_text("Only resize").click()
    answer = served(url, SWEATER.read_bytes(), "?conversion=none")
    expect_answer(page, answer)
    expect(page.locator(".steps li").last).to_have_text("Squeezed to 28 × 28 pixels, whatever is on it")
    expect(page.locator(".box")).to_have_count(0)
    for mode, query in (("auto", ""), ("none", "?conversion=none")):
        label = served(url, SWEATER.read_bytes(), query)["prediction"]["label"]
        expect(page.locator(f"input[value={mode}] + span small")).to_contain_text(label)
    keep(page, "only-resized")


def test_several_pictures_are_a_gallery_even_when_the_service_is_overloaded(page: Page, url: str) -> None:
    pictures = [{"name": one.name, "mimeType": "image/*", "buffer": one.read_bytes()} for one in SAMPLES]
    open_with(page, *pictures, TEXT)
    count = len(SAMPLES)
    expect(page.locator("#gallery-title")).to_have_text(f"{count} of {count + 1} pictures answered, 1 not")
    page.get_by_role("button", name="sweater.jpg").click()
    expect(page.locator("#caption")).to_contain_text("sweater.jpg")
    expect(page.locator(".verdict")).to_contain_text(served(url, SWEATER.read_bytes())["prediction"]["label"])
    assert flaws(page) == []
    keep(page, "gallery")


def test_a_gallery_can_be_taken_away_as_csv_and_json(page: Page, url: str) -> None:
    formula: FilePayload = {"name": '=1+1,"x".png', "mimeType": "image/png", "buffer": NOISE["buffer"]}
    open_with(page, formula, TEXT)
    expect(page.locator("#gallery-title")).to_have_text("1 of 2 pictures answered, 1 not")
    saved = []
    for button in ("#save-csv", "#save-json"):
        with page.expect_download() as download:
            page.click(button)
        saved.append(download.value.path().read_bytes().decode())
    answer = served(url, NOISE["buffer"])
    first, second = csv.DictReader(io.StringIO(saved[0], newline=""))
    assert first["filename"] == '\'=1+1,"x".png'
    assert first["label"] == answer["prediction"]["label"]
    assert [float(first[one["label"]]) for one in answer["probabilities"]] == [
        one["probability"] for one in answer["probabilities"]
    ]
    assert second["problem"] == served(url, TEXT["buffer"])["detail"]
    refused = {key: served(url, TEXT["buffer"])[key] for key in ("title", "detail", "code")}
    assert json.loads(saved[1]) == [
        {"filename": formula["name"], "result": answer},
        {"filename": "notes.txt", "problem": refused},
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.txt", b"a boot"),
        ("broken.png", SWEATER.read_bytes()[:5000]),
        ("huge.png", encoded(np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), np.uint8))),
        ("wide.png", encoded(Image.new("L", (10_000, 6_000)))),
    ],
    ids=["no image", "damaged", "too many bytes", "too many pixels"],
)
def test_a_problem_is_told_in_the_service_s_own_words_with_the_picture_kept(
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
    refusals = [{"title": "Service overloaded", "detail": "Try again later.", "code": "overloaded"}]

    def refuse_once(route: Route) -> None:
        if refusals:
            route.fulfill(status=503, headers={"Retry-After": "3"}, json=refusals.pop())
        else:
            route.continue_()

    page.route("**/predict?*", refuse_once)
    open_with(page, SWEATER)
    expect(page.locator(".problem")).to_contain_text("Try again later.")
    expect(page.locator("#wait")).to_have_text("It is tried again in 2 seconds.")
    keep(page, "overloaded")
    expect_answer(page, served(url, SWEATER.read_bytes()))


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


def test_trying_again_by_hand_works_too(page: Page, url: str) -> None:
    page.route("**/predict?*", lambda route: route.abort())
    open_with(page, SWEATER)
    expect(page.locator(".problem")).to_contain_text("The service cannot be reached")
    page.unroute("**/predict?*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#answer")).to_be_focused()
    expect_answer(page, served(url, SWEATER.read_bytes()))


@pytest.mark.parametrize("language", ["curl", "Python"])
def test_the_lines_to_copy_give_the_same_answer(page: Page, url: str, tmp_path: Path, language: str) -> None:
    if language == "curl" and not shutil.which("curl"):
        pytest.skip("needs curl")
    name = "it's mine.jpg"
    (tmp_path / name).write_bytes(SWEATER.read_bytes())
    open_with(page, tmp_path / name)
    page.get_by_text("Only resize").click()
    expect(page.locator("pre").first).to_contain_text("conversion=none")
    lines = page.get_by_role("region", name=f"{language} lines").inner_text()
    script = lines.replace("import httpx\n", "import httpx2 as httpx\n")  # the same, under the name that tests have
    command = ["sh", "-c", f"{lines} -s --noproxy '*'"] if language == "curl" else [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    label = served(url, SWEATER.read_bytes(), "?conversion=none")["prediction"]["label"]
    assert (json.loads(done.stdout)["prediction"]["label"] if language == "curl" else done.stdout.strip()) == label


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("phone", 360, 740), ("desktop", 1280, 860), ("4k", 3840, 2160)])
def test_every_screen_shows_it_whole_and_axe_finds_nothing(
    browser: Browser, url: str, name: str, width: int, height: int, scheme: Literal["light", "dark"]
) -> None:
    def look(what: str) -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width, what
        assert flaws(page) == [], what
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (max(map(int, re.findall(r"\d+", ground))) < 64) == (scheme == "dark")
        keep(page, f"{name}-{scheme}-{what}", whole=name != "4k")

    with browser.new_context(
        base_url=url, viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    ) as context:
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


def test_the_api_document_can_be_tried_with_a_picture_in_place(page: Page, url: str) -> None:
    page.goto("/docs")
    page.get_by_role("button", name="post /predict", exact=True).click()
    page.get_by_role("button", name="Use this picture").click()
    keep(page, "docs", whole=False)
    page.get_by_role("button", name="Execute").click()
    label = served(url, SWEATER.read_bytes())["prediction"]["label"]
    expect(page.locator(".live-responses-table .highlight-code").first).to_contain_text(f'"label": "{label}"')


def test_a_service_that_asks_for_a_key_asks_once_for_many_pictures(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{digest('open sesame')} visitors\n")
    with service(API_KEYS_FILE=tmp_path / "keys", LOG_LEVEL="warning") as (_, url):
        context = browser.new_context(base_url=url)
        page = context.new_page()
        asked: list[str] = []

        def answer(dialog: Dialog) -> None:
            asked.append(dialog.message)
            dialog.accept("open sesame")

        page.on("dialog", answer)
        open_with(page, *SAMPLES)
        expect(page.locator("#gallery-title")).to_have_text(f"{len(SAMPLES)} of {len(SAMPLES)} pictures answered")
        assert asked == ["This service asks for a key."]
        expect(page.locator("#snippets pre").first).to_contain_text("-H 'X-API-Key: KEY'")
        context.close()


def test_who_gives_no_key_is_asked_once_a_round_and_what_no_header_holds_is_no_key(
    browser: Browser, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(f"{digest('open sesame')} visitors\n")
    with service(API_KEYS_FILE=tmp_path / "keys", LOG_LEVEL="warning") as (_, url):
        context = browser.new_context(base_url=url)
        page = context.new_page()
        given: list[str | None] = [None, "“open sesame”", "open sesame"]
        asked: list[str] = []

        def answer(dialog: Dialog) -> None:
            asked.append(dialog.message)
            key = given.pop(0)
            dialog.accept(key) if key else dialog.dismiss()

        page.on("dialog", answer)
        open_with(page, *SAMPLES)
        expect(page.locator("#gallery-title")).to_have_text(
            f"0 of {len(SAMPLES)} pictures answered, {len(SAMPLES)} not"
        )
        assert len(asked) == 1
        page.get_by_role("button", name="Try again").click()
        expect(page.locator("#gallery-title")).to_have_text(f"{len(SAMPLES)} of {len(SAMPLES)} pictures answered")
        assert [question.split(".")[0] for question in asked[1:]] == [
            "This service asks for a key",
            "That key has characters that no key has, such as curled quotes",
        ]
        context.close()
