"""`python -m benchmarks.screenshots FOLDER`: are photographs on a telephone's screen or on a print classified right?

Held-out photographs are shown on a screen with a clock above and a bar below, or printed with margins and a caption,
and processed like any upload.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont, ImageOps

from benchmarks.photos import known_photos
from training.markdown import table
from training.pictures.photos import allowed_of, decode_photo
from training.pictures.upload import answer_uploads, convert_upload, encoded
from training.trust.photo_metrics import fits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from app.classifier import Classifier
    from training.pictures.photos import Photo

SCREEN = (1080, 2340)
"""Width and height of a telephone's screen, in pixels."""

PRINT_WIDTH, MARGIN, BELOW = 800, 50, 200
"""Pixels of a printed photograph's width, of the margin on three of its sides, and of that with the caption."""


def on_screen(photo: Image.Image, ground: str, text: str) -> Image.Image:
    """Show a photograph as wide as the screen, or as high as there is room, between a clock and a bar."""
    width, height = SCREEN
    screen = Image.new("RGB", SCREEN, ground)
    shown = ImageOps.contain(photo, (width, height - 400))
    screen.paste(shown, ((width - shown.width) // 2, (height - shown.height) // 2))
    draw = ImageDraw.Draw(screen)
    draw.text((60, 40), "9:41", fill=text, font=ImageFont.load_default(44))
    draw.text((860, 40), "5G 87%", fill=text, font=ImageFont.load_default(40))
    draw.rounded_rectangle((380, height - 30, 700, height - 18), 6, fill=text)
    return screen


def printed(photo: Image.Image) -> Image.Image:
    """Print a photograph with a caption below it."""
    width, height = PRINT_WIDTH, round(PRINT_WIDTH * photo.height / photo.width)
    paper = Image.new("RGB", (width + 2 * MARGIN, MARGIN + height + BELOW), "#f8f7f4")
    paper.paste(photo.resize((width, height)), (MARGIN, MARGIN))
    caption = MARGIN + width // 4, MARGIN + height + BELOW // 3
    ImageDraw.Draw(paper).text(caption, "summer 2021", fill="#28283c", font=ImageFont.load_default(60))
    return paper


SHOWN: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda photo: photo,
    "on a black screen": partial(on_screen, ground="black", text="white"),
    "on a white screen": partial(on_screen, ground="white", text="black"),
    "printed with a caption": printed,
}


def main() -> None:
    """Print the table."""
    classifier, photos = known_photos(
        argparse.ArgumentParser(prog="python -m benchmarks.screenshots", description=__doc__)
    )
    measured = {name: measure(photos, show, classifier) for name, show in SHOWN.items()}
    rows = [(name, f"{right:.1%}", f"{familiar:.1%}") for name, (right, familiar) in measured.items()]
    print(table(("shown", "right", "familiar"), rows))


def measure(
    photos: Sequence[Photo], show: Callable[[Image.Image], Image.Image], classifier: Classifier
) -> tuple[float, float]:
    """Return the shares of photographs that get a right label when shown so, and that are called familiar."""
    answers = answer_uploads(classifier, [convert_upload(encoded(show(decode_photo(photo)))) for photo in photos])
    right = fits(answers.probabilities, allowed_of(photos)).mean()
    return float(right), float((answers.familiarity >= classifier.card.familiarity.threshold).mean())


if __name__ == "__main__":
    main()
