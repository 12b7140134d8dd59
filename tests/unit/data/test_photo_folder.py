"""Which photos of a folder are predicted, and under which names."""

from pathlib import Path

from segmentation.data.photo_folder import find_photos


def test_no_two_photos_share_a_result(tmp_path: Path) -> None:
    names = ["a.jpg", "a.png", "a.jpg.png", "A.gif", "b.jpg", "B.png", "c.jpg"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    tasks, _ = find_photos(tmp_path, tmp_path / "out")
    results = [str(task.result).casefold() for task in tasks]
    assert len(set(results)) == len(names)
    assert [str(task.result) for task in tasks if task.name == Path("c.jpg")] == ["c"]


def test_photos_are_found_in_order_and_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    for name in (
        "b/2.jpg",
        "b/1.JPG",
        "a.png",
        "d.jfif",
        "d.JPE",
        ".hidden/x.jpg",
        ".x.jpg",
        "c.mat",
    ):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(b"")
    (tmp_path / "p" / "loop").symlink_to(tmp_path / "p")
    tasks, others = find_photos(tmp_path / "p", tmp_path / "out")
    assert [str(task.name) for task in tasks] == [
        "a.png",
        "d.JPE",
        "d.jfif",
        "b/1.JPG",
        "b/2.jpg",
    ]
    assert others == {".mat": 1}
