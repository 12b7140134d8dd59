"""Which photos of a folder are predicted, and under which names."""

from pathlib import Path

from segmentation.data.photo_folder import find_photos


def test_photos_are_found_in_order_and_no_two_share_a_result(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    names = ["B.png", "a.jpg", "a.png", "b.jpg", "d.JPE", "d.jfif", "b/1.JPG", "b/2.jpg"]
    for name in (*names, ".hidden/x.jpg", ".x.jpg", "c.mat"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "loop").symlink_to(folder)
    tasks, others = find_photos(folder, tmp_path / "out")
    assert [str(task.name) for task in tasks] == names
    assert len({str(task.result).casefold() for task in tasks}) == len(names)
    assert others == {".mat": 1}
