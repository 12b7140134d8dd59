"""From files to pixels: the lists are the truth, each odd file is used rightly or refused."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segmentation.data.images.examples import (
    ExampleError,
    binary_mask,
    decode,
    decode_image,
    decode_trimap,
    read_files,
)
from segmentation.data.oxford_pets import Example, find_root, read_list, read_trainval
from segmentation.errors import DataError

RED = np.zeros((6, 8, 3), np.uint8) + np.array([200, 30, 40], np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_with_16_bits() -> bytes:
    """A colour PNG of 2 x 1 pixels with 16 bits a sample, a text before its header's fellows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" + bytes(range(12)))
    text = chunk(b"tEXt", b"Title\0a pet")
    parts = chunk(b"IHDR", header) + text + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def trimap(*values: int) -> Image.Image:
    return Image.fromarray(np.array([values], np.uint8))


@pytest.mark.parametrize(
    ("border", "mask", "valid"),
    [
        ("pet", [1, 0, 1], [1, 1, 1]),
        ("background", [1, 0, 0], [1, 1, 1]),
        ("ignore", [1, 0, 0], [1, 1, 0]),
    ],
)
def test_trimap_values_become_masks(border: str, mask: list[int], valid: list[int]) -> None:
    got = binary_mask(np.array([[1, 2, 3]], np.uint8), border)
    assert [part.tolist() for part in got] == [[mask], [valid]]
    assert {part.dtype for part in got} == {np.dtype(np.uint8)}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (encoded(Image.fromarray(RED), "PNG"), [200, 30, 40]),
        (encoded(Image.fromarray(RED), "GIF"), [200, 30, 40]),
        (encoded(Image.new("L", (8, 6), 90), "PNG"), [90, 90, 90]),
        (encoded(Image.new("RGBA", (8, 6), (200, 30, 40, 255)), "PNG"), [200, 30, 40]),
        (encoded(Image.new("RGBA", (8, 6), (0, 0, 0, 0)), "PNG"), [255, 255, 255]),
        (encoded(Image.new("RGBA", (8, 6), (0, 0, 0, 51)), "PNG"), [204, 204, 204]),
        (encoded(Image.new("LA", (8, 6), (0, 0)), "PNG"), [255, 255, 255]),
        (encoded(Image.fromarray(RED).quantize(4), "PNG"), [200, 30, 40]),
        (encoded(Image.new("CMYK", (8, 6), (0, 0, 0, 255)), "JPEG"), [0, 0, 0]),
    ],
    ids=["png", "gif", "grey", "opaque", "clear", "dim", "clear grey", "palette", "cmyk"],
)
def test_formats_under_a_jpg_name_become_rgb(content: bytes, expected: list[int]) -> None:
    pixels = decode_image(content, Path("pet.jpg"))
    assert pixels.shape == (6, 8, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.reshape(-1, 3).astype(int) - expected).max() <= 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (encoded(Image.fromarray(RED), "BMP"), "is not a JPEG or PNG or GIF file"),
        (b"\0" * 100, "is not a JPEG or PNG or GIF file"),
        (encoded(Image.fromarray(np.zeros((6, 8), np.uint16)), "PNG"), "has 16 bits a sample"),
        (png_with_16_bits(), "has 16 bits a sample"),
        (encoded(Image.fromarray(RED), "JPEG")[:300], "cannot be decoded"),
        (encoded(Image.fromarray(RED), "PNG")[:-25], "cannot be decoded"),
        (
            encoded(
                Image.fromarray(RED),
                "GIF",
                save_all=True,
                append_images=[Image.fromarray(255 - RED)],
            ),
            "an animation of 2 frames",
        ),
        (encoded(Image.new("1", (9000, 8000)), "PNG"), "9000 x 8000 pixels; at most"),
        (encoded(Image.new("1", (20000, 20000)), "PNG"), "exceeds limit|at most"),
    ],
    ids=[
        "bmp",
        "zeros",
        "16 bit grey",
        "16 bit colour",
        "cut jpeg",
        "cut png",
        "animation",
        "huge",
        "bomb",
    ],
)
def test_other_files_are_refused_by_name(content: bytes, reason: str) -> None:
    with pytest.raises(ExampleError, match=rf"pet\.jpg: .*({reason})"):
        decode_image(content, Path("pet.jpg"))


def test_an_exif_orientation_is_not_applied_since_trimaps_follow_stored_pixels() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees when displayed
    turned = decode_image(encoded(Image.fromarray(RED), "JPEG", exif=exif), Path("pet.jpg"))
    assert turned.shape == (6, 8, 3)


def test_strange_trimaps_are_refused_with_what_they_hold() -> None:
    with pytest.raises(
        ExampleError, match=r"t\.png: expected trimap values 1, 2 and 3, found 0, 4"
    ):
        decode_trimap(encoded(trimap(0, 1, 2, 4), "PNG"), Path("t.png"))
    with pytest.raises(ExampleError, match="no pet"):
        decode_trimap(encoded(trimap(2, 3), "PNG"), Path("t.png"))
    with pytest.raises(ExampleError, match="is not a PNG file"):
        decode_trimap(encoded(trimap(1, 2), "GIF"), Path("t.png"))


def test_a_trimap_of_another_size_than_its_image_is_refused() -> None:
    example = Example(id="a_1", breed="a", species="dog", image=Path("a.jpg"), trimap=Path("a.png"))
    with pytest.raises(ExampleError, match=r"a\.png: is 3 x 1 pixels, but its image is 8 x 6"):
        decode(example, encoded(Image.fromarray(RED), "PNG"), encoded(trimap(1, 2, 3), "PNG"))


def test_missing_and_empty_files_are_both_named(tmp_path: Path) -> None:
    example = Example(
        id="a_1", breed="a", species="dog", image=tmp_path / "a.jpg", trimap=tmp_path / "a.png"
    )
    (tmp_path / "a.png").touch()
    with pytest.raises(ExampleError, match=r"a\.jpg: No such file.*a\.png: the file is empty"):
        read_files(example)


def test_a_pipe_in_place_of_a_photo_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    (tmp_path / "a.png").mkdir()
    example = Example(
        id="a_1", breed="a", species="dog", image=tmp_path / "a.jpg", trimap=tmp_path / "a.png"
    )
    with pytest.raises(ExampleError, match=r"a\.jpg: is not a plain.*a\.png: is not a plain"):
        read_files(example)


def test_the_lists_are_the_truth_not_the_folder(own_pets: Path) -> None:
    (own_pets / "images" / "stray.mat").write_bytes(b"not an image")
    lines = (own_pets / "annotations" / "trainval.txt").read_text().splitlines()[:3]
    text = "# a comment\r\n\r\n" + "\r\n".join(lines) + "\r\n"
    (own_pets / "annotations" / "trainval.txt").write_bytes(text.encode())
    examples = read_list(own_pets, "trainval")
    assert [example.id for example in examples] == [line.split()[0] for line in lines]
    assert examples[0].breed == "Calico"
    assert examples[0].species == "cat"


def test_all_malformed_lines_are_named_at_once(own_pets: Path) -> None:
    path = own_pets / "annotations" / "trainval.txt"
    path.write_text("a_1 1 1 1\na_1 1 1 1\n../b_2 1 1 1\nc_3\nd_4 1 9 1\n.hidden 1 1 1\n")
    with pytest.raises(DataError) as raised:
        read_list(own_pets, "trainval")
    text = str(raised.value)
    for part in (
        "trainval.txt:2: 'a_1' is listed twice",
        "trainval.txt:3: '../b_2' is not the plain name of a file",
        "trainval.txt:4: expected 'NAME CLASS SPECIES BREED', got 'c_3'",
        "trainval.txt:5: d_4: species is 9",
        "trainval.txt:6: '.hidden' is not the plain name",
    ):
        assert part in text


def test_an_example_in_both_lists_is_refused(own_pets: Path) -> None:
    tested = (own_pets / "annotations" / "test.txt").read_text().splitlines()[0]
    with (own_pets / "annotations" / "trainval.txt").open("a") as file:
        file.write(tested + "\n")
    with pytest.raises(DataError, match=f"(?s)1 examples stand in .*{tested.split()[0]}"):
        read_trainval(own_pets)


def test_a_folder_of_another_layout_is_refused_with_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected a folder in the layout.*trainval\.txt"):
        find_root(tmp_path)


def test_the_folder_around_the_data_set_is_taken_too(own_pets: Path, tmp_path: Path) -> None:
    (tmp_path / "around").mkdir()
    own_pets.rename(tmp_path / "around" / "oxford-iiit-pet")
    assert find_root(tmp_path / "around") == tmp_path / "around" / "oxford-iiit-pet"
