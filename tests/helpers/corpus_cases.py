"""Puts the corpus together: every kind of file, every kind of name, one data set."""

from collections.abc import Callable, Iterator

import numpy as np

from tests.helpers import corpus_photos, corpus_refused, corpus_trimaps
from tests.helpers.corpus import Bytes, Case, Found, picture
from tests.helpers.png import RGB, png

Maker = Callable[[Bytes, np.random.Generator], Iterator[Found]]

PHOTOS: tuple[Maker, ...] = (
    corpus_photos.jpegs,
    corpus_photos.cmyk,
    corpus_photos.turned,
    corpus_photos.colour_pngs,
    corpus_photos.grey_pngs,
    corpus_photos.palettes,
    corpus_photos.alphas,
    corpus_photos.links,
    corpus_refused.cut_jpegs,
    corpus_refused.cut_pngs,
    corpus_refused.cut_gifs,
    corpus_refused.flipped_pngs,
    corpus_refused.strange_pngs,
    corpus_refused.many_bits,
    corpus_refused.rare_jpegs,
    corpus_refused.animations,
    corpus_refused.strange_gifs,
    corpus_refused.bombs,
    corpus_refused.other_files,
    corpus_refused.no_files,
)
TRIMAPS: tuple[Maker, ...] = (
    corpus_trimaps.usable,
    corpus_trimaps.values,
    corpus_trimaps.formats,
    corpus_trimaps.sizes,
    corpus_trimaps.damaged,
    corpus_trimaps.no_files,
)
#: Strange names of files that are used all the same, by kind.
NAMES = {
    "name with spaces": ("my old cat_1", "two  spaces_1", "cat 1 2_1"),
    "name in another script": ("猫_1", "кошка_1", "قطة_1", "ñandú_1", "e\u0301clair_1", "🐈_1"),
    "name with signs": (
        *("it's_1", '"quoted"_1', "100%_1", "a%2Fb_1", "$HOME_1", "`x`_1", "-rf_1", "a;b&c_1"),
        *("*_1", "a?_1", "[x]_1", "~_1", "con", "a:b_1", "a.jpg_1", "dot.", "_1", "7", "a=b,c_1"),
        *("<b>_1", "{0}_1", "%s_1", "a#b_1", "a|b_1"),
    ),
    "long name": ("x" * 249 + "_1", "猫" * 83 + "_1"),
}


def cases(seed: int) -> list[Case]:
    """The whole corpus: the same from the same seed."""
    random = np.random.default_rng(seed)
    numbers: dict[str, int] = {}
    found = [*_photos(random), *_trimaps(random), *_both(random), *_named(random)]
    made = []
    for position, (kind, name, image, trimap) in enumerate(found):
        numbers[kind] = numbers.get(kind, 0) + 1
        plain = "".join(letter if letter.isalnum() else "-" for letter in kind)
        made.append(
            Case(
                kind=kind,
                id=name or f"{plain}_{numbers[kind]}",
                image=image,
                trimap=trimap,
                species=1 + position % 2,
            )
        )
    return made


def photos(seed: int) -> list[Found]:
    """What lies in the place of photos, alone."""
    return [image for _, _, image, _ in _photos(np.random.default_rng(seed))]


_Files = tuple[str, str, Found, Found]


def _photos(random: np.random.Generator) -> Iterator[_Files]:
    """Each kind of photo, with a good trimap of its size."""
    for make in PHOTOS:
        rgb, trimap = _picture(random)
        for found in make(rgb, random):
            yield found.kind, "", found, _good_trimap(trimap)


def _trimaps(random: np.random.Generator) -> Iterator[_Files]:
    """Each kind of trimap, with a good photo of its own."""
    for make in TRIMAPS:
        rgb, trimap = _picture(random)
        for number, found in enumerate(make(trimap, random)):
            yield found.kind, "", _good_photo(rgb + np.uint8(number)), found


def _both(random: np.random.Generator) -> Iterator[_Files]:
    """Both files of an example refused: both are named."""
    rgb, trimap = _picture(random)
    images = [corpus_refused.other_files, corpus_refused.no_files]
    for make in images:
        image = next(make(rgb, random))
        for refused in (corpus_trimaps.values, corpus_trimaps.damaged, corpus_trimaps.no_files):
            yield "photo and trimap", "", image, next(refused(trimap, random))


def _named(random: np.random.Generator) -> Iterator[_Files]:
    for kind, names in NAMES.items():
        for name in names:
            rgb, trimap = _picture(random)
            yield kind, name, _good_photo(rgb), _good_trimap(trimap)


def _picture(random: np.random.Generator) -> tuple[Bytes, Bytes]:
    """A picture of 32 x 32 pixels or of another size."""
    square = random.random() < 0.5
    height, width = (32, 32) if square else (int(side) for side in random.integers(24, 48, 2))
    return picture(random, height, width)


def _good_photo(rgb: Bytes) -> Found:
    return Found(kind="", content=png(rgb, RGB), pixels=rgb)


def _good_trimap(trimap: Bytes) -> Found:
    return next(corpus_trimaps.usable(trimap, np.random.default_rng(0)))
