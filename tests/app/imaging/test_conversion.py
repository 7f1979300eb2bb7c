from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from app.imaging.conversion import Mode, convert, shrink
from app.imaging.decode import decode
from tests.conftest import encoded
from training.pictures.disguise import GARMENTS, GROUNDS, disguise

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from training.data import Data

BLACK, WHITE = 0, 255


def drawing(ground: int, garment: int, height: int = 120, width: int = 80) -> Image.Image:
    """Draw a garment twice as high as wide, off-centre on its ground."""
    values = np.full((height, width), ground, np.uint8)
    values[10:90, 20:60] = garment
    return Image.fromarray(values)


def shirt_mask(height: int = 320, width: int = 240) -> np.ndarray:
    """Draw a shirt with two sleeves, bool `[height, width]`."""
    mask = np.zeros((height, width), bool)
    mask[60:280, 70:170] = True
    mask[60:110, 30:210] = True
    return mask


def photograph(ground: tuple[int, ...], garment: tuple[int, ...], seed: int = 0) -> Image.Image:
    """Imitate a photograph of a shirt on a rough ground, lit from the left and slightly out of focus."""
    rng = np.random.default_rng(seed)
    mask = shirt_mask()
    colours = np.where(mask[..., None], garment, ground).astype(np.float32)
    rough = cv2.GaussianBlur(rng.standard_normal(mask.shape, dtype=np.float32), (0, 0), 2) * 60
    colours += np.where(mask, 0.2, 1)[..., None].astype(np.float32) * rough[..., None]
    colours *= np.linspace(1.1, 0.9, mask.shape[1], dtype=np.float32)[None, :, None]
    return Image.fromarray(np.clip(cv2.GaussianBlur(colours, (0, 0), 1), 0, 255).astype(np.uint8))


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.NONE])
@pytest.mark.parametrize("channels", ["L", "RGB"])
def test_a_grey_image_of_28_by_28_is_left_untouched(mode: Mode, channels: str) -> None:
    values = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    converted = convert(Image.fromarray(values).convert(channels), mode)
    assert np.array_equal(converted.image, values)
    assert converted.steps == ()
    assert converted.box is None


def test_every_grey_level_of_an_image_of_28_by_28_is_left_untouched() -> None:
    values = np.arange(784).reshape(28, 28).astype(np.uint8)
    assert np.array_equal(convert(Image.fromarray(values).convert("RGB"), Mode.AUTO).image, values)


def test_a_lossy_image_of_28_by_28_is_native_though_its_greys_are_a_little_off(data: Data) -> None:
    for image in data.test.images[:20]:
        file = encoded(Image.fromarray(image), "WEBP", quality=80)
        converted = convert(decode(file, "image/webp", 10**7).pixels, Mode.AUTO)
        assert (converted.mode, converted.steps) == ("native", ())
        assert np.abs(converted.image.astype(int) - image).mean() < 8


@pytest.mark.parametrize("is_negative", [False, True], ids=["bright on black", "dark on white"])
@pytest.mark.parametrize(("side", "channels"), [(29, "L"), (56, "L"), (280, "L"), (280, "RGB")])
def test_an_enlarged_image_of_the_data_set_is_nearly_itself_again_though_it_fills_the_frame(
    data: Data, side: int, channels: str, *, is_negative: bool
) -> None:
    errors = []
    for image in data.test.images[:60]:
        seen = Image.fromarray(255 - image if is_negative else image)
        converted = convert(seen.resize((side, side), Image.Resampling.BICUBIC).convert(channels), Mode.AUTO)
        assert converted.mode == ("catalogue" if is_negative else "bright_on_black")
        errors.append(np.abs(converted.image.astype(int) - image).mean())
    assert np.median(errors) < 12


def test_a_photograph_on_white_that_is_cropped_into_the_garment_is_still_a_photograph() -> None:
    picture = photograph((255, 255, 255), (40, 60, 140)).crop((70, 60, 240, 320))
    assert convert(picture, Mode.AUTO).mode == "photo"


def test_a_round_picture_beside_a_dot_is_no_cut_out() -> None:
    opacity = Image.new("L", (500, 500), 0)
    draw = ImageDraw.Draw(opacity)
    draw.ellipse((0, 0, 399, 399), fill=255)
    draw.rectangle((470, 470, 480, 480), fill=255)
    picture = photograph((120, 130, 110), (40, 60, 140)).resize((500, 500))
    assert convert(picture, Mode.AUTO, opacity).mode != "cut_out"


def test_a_coloured_image_of_28_by_28_is_converted() -> None:
    assert convert(Image.new("RGB", (28, 28), "red"), Mode.AUTO).mode == "photo"


def test_photo_converts_even_a_native_image() -> None:
    assert convert(Image.new("L", (28, 28), WHITE), Mode.PHOTO).mode == "photo"


@pytest.mark.parametrize(
    ("ground", "garment", "mode"),
    [
        (WHITE, 40, "catalogue"),
        (230, 90, "catalogue"),
        (BLACK, 200, "bright_on_black"),
        (20, 120, "bright_on_black"),
        (60, 180, "photo"),
        (120, 30, "photo"),
    ],
)
def test_a_garment_becomes_bright_on_black_touches_the_frame_and_is_centred(
    ground: int, garment: int, mode: str
) -> None:
    converted = convert(drawing(ground, garment), Mode.AUTO)
    assert converted.mode == mode
    assert ("negated" in converted.steps) is (mode != "bright_on_black")
    assert (converted.image[1:27, 8:20] > 200).all()
    assert (converted.image[:, :6] == 0).all()
    assert (converted.image[:, 22:] == 0).all()
    assert converted.image[0].any()
    assert converted.image[27].any()
    assert converted.box == pytest.approx((20, 10, 60, 90), abs=2)


@pytest.mark.parametrize(
    ("ground", "garment"),
    [
        ((150, 110, 70), (40, 60, 120)),
        ((60, 60, 60), (200, 190, 180)),
        ((160, 40, 40), (200, 200, 200)),
        ((205, 205, 200), (250, 250, 250)),
    ],
    ids=["blue on wood", "light on dark", "white on red", "white shirt on a white sheet"],
)
def test_the_shape_of_a_photographed_garment_is_kept(ground: tuple[int, ...], garment: tuple[int, ...]) -> None:
    converted = convert(photograph(ground, garment), Mode.AUTO)
    assert converted.mode == "photo"
    assert converted.box == pytest.approx((30, 60, 210, 280), abs=8)
    shape = np.zeros((28, 28), bool)
    shape[:, 3:25] = cv2.resize(shirt_mask()[60:280, 30:210].astype(np.uint8), (22, 28)).astype(bool)
    seen = converted.image > 20  # the lightest cloth becomes 40
    assert (seen & shape).sum() / (seen | shape).sum() > 0.8
    assert "background_removed" in converted.steps


def test_the_box_is_in_pixels_of_the_given_picture() -> None:
    large = photograph((150, 110, 70), (40, 60, 120)).resize((240 * 5, 320 * 5))
    assert convert(large, Mode.AUTO).box == pytest.approx((150, 300, 1050, 1400), abs=40)
    between_bars = Image.new("RGB", (1200, 2600))
    between_bars.paste(large, (0, 500))
    assert convert(between_bars, Mode.AUTO).box == pytest.approx((150, 800, 1050, 1900), abs=60)


@pytest.mark.parametrize(
    ("ground", "garment", "print_"), [(WHITE, 245, 20), (225, 250, 20), (28, 12, 240)], ids=["white", "pale", "dark"]
)
def test_a_shirt_of_nearly_the_tone_of_its_ground_is_not_reduced_to_its_print(
    ground: int, garment: int, print_: int
) -> None:
    values = np.where(shirt_mask(), garment, ground).astype(np.uint8)
    values[130:170, 100:140] = print_
    assert convert(Image.fromarray(values), Mode.AUTO).mode == "photo"


def test_a_white_shirt_with_dark_seams_on_a_pale_ground_is_not_reduced_to_its_seams() -> None:
    mask = shirt_mask().astype(np.uint8)
    seams = mask.astype(bool) & ~cv2.erode(mask, np.ones((9, 9), np.uint8)).astype(bool)
    picture = Image.fromarray(np.where(seams, 30, np.where(mask, 248, 205)).astype(np.uint8))
    converted = convert(picture, Mode.AUTO)
    assert converted.mode == "photo"
    assert converted.image.mean() > 100


@pytest.mark.parametrize(("caption", "size"), [("NEW", 10), ("Cotton sweater, 29.90", 16), ("COTTON\nSWEATER", 20)])
@pytest.mark.parametrize(
    ("ground", "cloth"),
    [(WHITE, 60), (WHITE, 215), (BLACK, 200), (BLACK, 40)],
    ids=["catalogue", "pale catalogue", "bright_on_black", "dim on black"],
)
def test_specks_and_captions_on_a_plain_ground_are_no_part_of_the_garment(
    ground: int, cloth: int, caption: str, size: int
) -> None:
    mask = np.pad(shirt_mask(), ((100, 80), (30, 30)))
    plain = Image.fromarray(np.where(mask, cloth, ground).astype(np.uint8))
    marked = plain.copy()
    draw = ImageDraw.Draw(marked)
    draw.rectangle((290, 490, 293, 493), cloth)
    draw.text((10, 8), caption, WHITE - ground, ImageFont.load_default(size))
    alone, beside = convert(plain, Mode.AUTO), convert(marked, Mode.AUTO)
    assert beside.box == alone.box
    assert (beside.image == alone.image).all()


@pytest.mark.parametrize(
    "parts",
    [
        [(30, 200, 220, 212), (185, 120, 215, 130), (170, 121, 182, 129)],
        [(30, 200, 220, 212), (40, 150, 70, 160), (80, 150, 110, 160)],
        [side for row in range(40, 220, 44) for side in ((60, row, 120, row + 10), (128, row, 190, row + 10))],
    ],
    ids=["a sandal with an ankle strap in two parts", "straps above a sole", "stripes broken by a placket"],
)
def test_a_garment_of_low_parts_loses_none_of_them(parts: list[tuple[int, int, int, int]]) -> None:
    plain = Image.new("L", (256, 256), WHITE)
    for part in parts:
        ImageDraw.Draw(plain).rectangle(part, 20)
    lefts, tops, rights, bottoms = zip(*parts, strict=True)
    everything = min(lefts), min(tops), max(rights) + 1, max(bottoms) + 1
    assert convert(plain, Mode.AUTO).box == pytest.approx(everything, abs=2)


@pytest.mark.parametrize("ground", [WHITE, BLACK])
def test_the_hook_of_a_hanger_on_a_plain_ground_is_no_part_of_the_garment(ground: int) -> None:
    plain = Image.fromarray(np.where(shirt_mask(), 255 - ground // 2, ground).astype(np.uint8))
    hung = plain.copy()
    draw = ImageDraw.Draw(hung)
    draw.line((120, 40, 120, 60), 128, 5)
    draw.arc((120, 28, 146, 54), 180, 360, 128, 5)
    assert convert(hung, Mode.AUTO).box == convert(plain, Mode.AUTO).box == pytest.approx((30, 60, 210, 280), abs=3)


def test_the_handle_of_a_bag_and_the_straps_of_a_dress_are_parts_of_them() -> None:
    bag, dress = (Image.new("L", (300, 400), WHITE) for _ in range(2))
    draw = ImageDraw.Draw(bag)
    draw.rectangle((60, 200, 240, 380), 40)
    draw.arc((110, 100, 190, 300), 180, 360, 40, 5)
    assert convert(bag, Mode.AUTO).box == pytest.approx((60, 100, 241, 381), abs=3)
    draw = ImageDraw.Draw(dress)
    draw.rectangle((90, 130, 210, 380), 40)
    draw.line((120, 60, 120, 130), 40, 5)
    draw.line((180, 60, 180, 130), 40, 5)
    assert convert(dress, Mode.AUTO).box == pytest.approx((90, 60, 211, 381), abs=3)


def test_two_shoes_on_a_plain_ground_stay_together_and_so_do_the_pieces_of_a_sandal() -> None:
    values = np.full((300, 400), WHITE, np.uint8)
    values[200:260, 20:160] = values[200:260, 230:370] = 40
    values[150:154, 60:100] = 40  # a strap
    assert convert(Image.fromarray(values), Mode.AUTO).box == pytest.approx((20, 150, 370, 260), abs=3)


def cut_out(cloth: int, mask: np.ndarray) -> tuple[Image.Image, Image.Image]:
    """Return a garment on white with folds of 8 grey levels, and its opacity."""
    folds = cloth - 8 * (np.indices(mask.shape)[0] // 20 % 2)
    return Image.fromarray(np.where(mask, folds, WHITE).astype(np.uint8)), Image.fromarray(mask.astype(np.uint8) * 255)


@pytest.mark.parametrize("cloth", [WHITE, 120, 12])
def test_a_cut_out_garment_keeps_the_shape_that_its_transparency_gives_it(cloth: int) -> None:
    pixels, opacity = cut_out(cloth, shirt_mask())
    converted = convert(pixels, Mode.AUTO, opacity)
    assert converted.mode == "cut_out"
    assert converted.box == pytest.approx((30, 60, 210, 280), abs=4)
    shape = np.zeros((28, 28), bool)
    shape[:, 3:25] = cv2.resize(shirt_mask()[60:280, 30:210].astype(np.uint8), (22, 28)).astype(bool)
    seen = converted.image > 20
    assert (seen & shape).sum() / (seen | shape).sum() > 0.9
    assert len(np.unique(converted.image[shape])) > 2, "its folds are seen, even white on white"


def test_a_large_cut_out_is_converted_like_a_small_one() -> None:
    pixels, opacity = cut_out(200, shirt_mask())
    small = convert(pixels, Mode.AUTO, opacity)
    large = convert(pixels.resize((1200, 1600)), Mode.AUTO, opacity.resize((1200, 1600)))
    assert small.box is not None
    assert large.box == pytest.approx(np.multiply(small.box, 5), abs=10)
    assert np.abs(large.image.astype(int) - small.image).mean() < 6


@pytest.mark.parametrize("canvas", [320, 3000])
def test_a_cut_out_is_converted_alike_on_a_larger_canvas(canvas: int) -> None:
    small = cut_out(WHITE, shirt_mask())
    place = (canvas - 240) // 2, (canvas - 320) // 2
    large = Image.new("L", (canvas, canvas), WHITE), Image.new("L", (canvas, canvas))
    for one, other in zip(large, small, strict=True):
        one.paste(other, place)
    expected, converted = convert(small[0], Mode.AUTO, small[1]), convert(large[0], Mode.AUTO, large[1])
    assert expected.box is not None
    assert np.array_equal(converted.image, expected.image)
    assert converted.box == tuple(np.add(expected.box, place * 2))


def round_corners(photo: Image.Image) -> Image.Image:
    opacity = Image.new("L", photo.size)
    ImageDraw.Draw(opacity).rounded_rectangle((0, 0, *np.subtract(photo.size, 1).tolist()), 25, 255)
    return opacity


def circle(photo: Image.Image) -> Image.Image:
    opacity = Image.new("L", photo.size)
    ImageDraw.Draw(opacity).ellipse((0, 0, *np.subtract(photo.size, 1).tolist()), 255)
    return opacity


@pytest.mark.parametrize("opacity_of", [round_corners, circle, lambda photo: Image.new("L", photo.size, 254)])
def test_a_photograph_with_transparent_corners_is_a_photograph(
    opacity_of: Callable[[Image.Image], Image.Image],
) -> None:
    photo = photograph((150, 110, 70), (40, 60, 120))
    opacity = opacity_of(photo)
    converted = convert(Image.composite(photo, Image.new("RGB", photo.size, "white"), opacity), Mode.AUTO, opacity)
    assert converted.mode == "photo"
    assert converted.box == pytest.approx((30, 60, 210, 280), abs=30)


@pytest.mark.parametrize("degrees", [3, 10, 20, 45])
def test_a_photograph_rotated_on_a_transparent_canvas_is_no_cut_out(degrees: float) -> None:
    turned = photograph((150, 110, 70), (40, 60, 120)).convert("RGBA").rotate(degrees, expand=True)
    opacity = turned.getchannel("A")
    assert np.mean(np.asarray(opacity) == 0) > 0.05
    on_white = Image.composite(turned.convert("RGB"), Image.new("RGB", turned.size, "white"), opacity)
    assert convert(on_white, Mode.AUTO, opacity).mode != "cut_out"


def test_a_photograph_in_a_transparent_frame_is_taken_out_of_it() -> None:
    photo = photograph((150, 110, 70), (40, 60, 120))
    framed, opacity = Image.new("RGB", (280, 352), "white"), Image.new("L", (280, 352))
    framed.paste(photo, (20, 16))
    opacity.paste(255, (20, 16, 260, 336))
    converted = convert(framed, Mode.AUTO, opacity)
    assert (converted.mode, converted.steps[0]) == ("photo", "frame_removed")


@pytest.mark.parametrize("opaque", [[], [(5, 5)], [(0, 0), (999, 1399)]], ids=["nothing", "a point", "two far apart"])
def test_what_is_nearly_all_transparent_is_no_cut_out(opaque: list[tuple[int, int]]) -> None:
    white = Image.new("RGB", (1000, 1400), "white")
    opacity = Image.new("L", white.size)
    for point in opaque:
        opacity.putpixel(point, 255)
    assert "no_garment_found" in convert(white, Mode.AUTO, opacity).steps


def test_only_auto_considers_transparency() -> None:
    pixels, opacity = cut_out(120, shirt_mask())
    assert [convert(pixels, mode, opacity).mode for mode in Mode] == ["cut_out", "photo", "none"]


def test_an_image_of_28_by_28_with_transparency_is_a_cut_out() -> None:
    pixels, opacity = (image.resize((28, 28)) for image in cut_out(200, shirt_mask()))
    assert convert(pixels, Mode.AUTO).mode == "native"
    assert convert(pixels, Mode.AUTO, opacity).mode == "cut_out"


@pytest.mark.parametrize("mode", [Mode.AUTO, Mode.PHOTO])
@pytest.mark.parametrize("colour", ["black", "white"])
@pytest.mark.parametrize("margin", [(20, 16), (0, 90), (90, 0)], ids=["all around", "above and below", "at the sides"])
def test_a_photograph_in_a_frame_is_converted_as_without_the_frame(
    mode: Mode, colour: str, margin: tuple[int, int]
) -> None:
    photo = photograph((150, 110, 70), (40, 60, 120))
    across, down = margin
    framed = Image.new("RGB", (photo.width + 2 * across, photo.height + 2 * down), colour)
    framed.paste(photo, margin)
    expected, converted = convert(photo, mode), convert(framed, mode)
    assert expected.box is not None
    assert (converted.mode, converted.steps) == (expected.mode, ("frame_removed", *expected.steps))
    assert converted.box == pytest.approx(np.add(expected.box, margin * 2), abs=4)
    assert np.abs(converted.image.astype(int) - expected.image).mean() < 10


def test_the_bars_around_a_catalogue_picture_are_removed() -> None:
    picture = np.full((160, 120, 3), WHITE, np.uint8)
    picture[20:140, 30:90] = (40, 60, 120)
    converted = convert(Image.fromarray(np.pad(picture, ((80, 80), (0, 0), (0, 0)))), Mode.AUTO)
    assert (converted.mode, converted.steps[0]) == ("catalogue", "frame_removed")
    assert converted.box == (30, 100, 90, 220)


@pytest.mark.parametrize("colour", ["white", "black", "red"])
def test_a_picture_without_a_garment_is_reported_and_still_gives_an_image(colour: str) -> None:
    converted = convert(Image.new("RGB", (50, 70), colour), Mode.AUTO)
    assert "no_garment_found" in converted.steps
    assert converted.box is None
    assert converted.image.any()


def test_none_only_resizes() -> None:
    converted = convert(Image.new("RGB", (50, 70), "white"), Mode.NONE)
    assert (converted.image == WHITE).all()
    assert (converted.mode, converted.steps, converted.box) == ("none", ("greyscale", "resized"), None)
    assert convert(Image.new("L", (50, 70)), Mode.NONE).steps == ("resized",)


@pytest.mark.parametrize("ground", list(GROUNDS))
@pytest.mark.parametrize("garment", list(GARMENTS))
def test_a_disguised_image_of_the_data_set_is_nearly_itself_again(data: Data, ground: str, garment: str) -> None:
    rng = np.random.default_rng(0)
    errors = []
    for image in data.train.images[:40]:
        converted = convert(decode(disguise(image, ground, garment, rng), "image/jpeg", 10**7).pixels, Mode.AUTO)
        assert converted.mode == "catalogue"
        assert "frame_removed" not in converted.steps
        errors.append(np.abs(converted.image.astype(int) - image).mean())
    # Of 255 grey levels; 7 when averaged instead of subsampled, and about 20 when shifted by one pixel.
    assert np.median(errors) < 6


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (5000, 10), (2, 3), (29, 27), (640, 480)])
def test_a_picture_of_any_size_gives_28_by_28_bytes_and_the_same_ones_each_time(
    mode: Mode, size: tuple[int, int]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    first, second = (convert(Image.fromarray(noise), mode) for _ in range(2))
    assert first.image.shape == (28, 28)
    assert first.image.dtype == np.uint8
    assert np.array_equal(first.image, second.image)


def test_shrinking_keeps_the_aspect_ratio_and_returns_what_is_small_already() -> None:
    assert shrink(np.zeros((200, 100, 3), np.uint8), 50).shape == (50, 25, 3)
    small = np.zeros((20, 10), np.float32)
    assert shrink(small, 50) is small


def of_two_tones(dark: int, light: int) -> NDArray[np.uint8]:
    """Convert a photograph of cloth that is dark on the left and light on the right, with its outline known."""
    colours = np.full((96, 96, 3), 128, np.uint8)
    colours[20:76, 20:48], colours[20:76, 48:76] = dark, light
    outline = np.zeros((96, 96), np.float32)
    outline[20:76, 20:76] = 1
    return convert(Image.fromarray(colours), Mode.PHOTO, separator=lambda _: outline).image


def test_the_tones_of_a_photographed_garment_are_stretched_from_dark_to_white() -> None:
    image = of_two_tones(60, 180)
    assert set(image[:, :13].flat) == {255}
    assert set(image[:, 15:].flat) == {40}


def test_the_tones_of_nearly_plain_cloth_are_stretched_less() -> None:
    image = of_two_tones(100, 110)
    assert set(image[:, :13].flat) == {255}
    assert set(image[:, 15:].flat) == {255 - round((255 - 40) * 10 / 40)}


def test_the_rim_of_a_photographed_garment_does_not_affect_its_tones() -> None:
    colours = np.full((96, 96, 3), 128, np.uint8)
    colours[20:76, 20:76] = 0  # a black rim, which may be ground
    colours[26:70, 26:48], colours[26:70, 48:70] = 60, 180
    outline = np.zeros((96, 96), np.float32)
    outline[20:76, 20:76] = 0.8
    outline[26:70, 26:70] = 1
    image = convert(Image.fromarray(colours), Mode.PHOTO, separator=lambda _: outline).image
    assert set(image[6:22, 6:12].flat) == {255}
    assert set(image[6:22, 16:22].flat) == {40}


def test_what_hardly_differs_from_a_plain_ground_is_ground_even_inside_the_garment() -> None:
    values = np.full((120, 80), 250, np.uint8)
    values[10:90, 20:60] = 40
    values[40:60, 30:50] = 245
    assert (convert(Image.fromarray(values), Mode.AUTO).image[12:15, 12:16] == 0).all()


def test_a_shadow_on_a_transparent_ground_is_no_garment() -> None:
    pixels, opacity = cut_out(120, shirt_mask())
    shadowed = opacity.copy()
    shadowed.paste(100, (60, 285, 180, 300))
    assert convert(pixels, Mode.AUTO, shadowed).box == convert(pixels, Mode.AUTO, opacity).box


@pytest.mark.parametrize(
    ("garment", "line"),
    [((90, 130, 210, 380), (100, 60, 100, 130)), ((40, 200, 260, 300), (150, 120, 150, 200))],
    ids=["a strap at the side", "a handle over what is wider than high"],
)
def test_a_thin_part_above_a_garment_is_a_hook_only_over_the_middle_of_a_tall_one(
    garment: tuple[int, int, int, int], line: tuple[int, int, int, int]
) -> None:
    picture = Image.new("L", (300, 400), WHITE)
    draw = ImageDraw.Draw(picture)
    draw.rectangle(garment, 40)
    draw.line(line, 40, 5)
    left, _, right, bottom = garment
    assert convert(picture, Mode.AUTO).box == pytest.approx((left, line[1], right + 1, bottom + 1), abs=3)


def test_a_pale_shirt_is_not_reduced_to_its_large_print() -> None:
    values = np.where(shirt_mask(), 245, WHITE).astype(np.uint8)
    values[100:200, 75:165] = 20
    assert convert(Image.fromarray(values), Mode.AUTO).mode == "photo"


def test_the_box_ends_where_the_picture_does_though_it_was_averaged_in_blocks() -> None:
    values = np.full((1030, 1030), WHITE, np.uint8)
    values[200:, 300:] = 40
    box = convert(
        Image.fromarray(values), Mode.PHOTO, separator=lambda small: (small[..., 0] < 128).astype(np.float32)
    ).box
    assert box
    assert box[2:] == (1030, 1030)
