"""Outbox and uploader: what is put on disk arrives in order, whatever happens between."""

import threading
from pathlib import Path

import pytest

from segmentation.errors import TrackingError
from segmentation.tracking.logging.mlflow_sink import MlflowSink
from segmentation.tracking.logging.outbox import Entry, Outbox, RefusedError, entries_in
from segmentation.tracking.logging.uploader import Uploader


class Store(MlflowSink):
    """A delivery that can be away, or refuse."""

    def __init__(self) -> None:
        self.away = False
        self.arrived: list[int] = []
        self.asked = threading.Event()

    def write(self, entries: list[Entry]) -> list[Entry]:
        away = self.away
        self.asked.set()
        if away:
            raise ConnectionError("nobody there")
        if entries[0].metadata.get("bad"):
            raise RefusedError("never")
        self.arrived.append(entries[0].metadata["number"])
        return entries[:1]


def put(outbox: Outbox, *numbers: int) -> None:
    for number in numbers:
        outbox.put("metrics", {"number": number})


def test_what_waits_arrives_in_order_also_from_an_earlier_process(tmp_path: Path) -> None:
    put(Outbox(tmp_path / "box"), 1, 2, 3)
    outbox = Outbox(tmp_path / "box")
    put(outbox, *range(4, 13))
    store = Store()
    assert Uploader(outbox, store).finish(10)
    assert store.arrived == list(range(1, 13))
    assert list((tmp_path / "box").iterdir()) == []


def test_while_the_store_is_away_all_is_kept_and_later_it_goes_on_and_each_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("segmentation.tracking.logging.uploader._PAUSE", 0.05)
    caplog.set_level("INFO", "segmentation")
    outbox, store = Outbox(tmp_path / "box"), Store()
    store.away = True
    put(outbox, 1)
    uploader = Uploader(outbox, store)
    assert store.asked.wait(10)
    put(outbox, 2, 3)
    assert not uploader.finish(0.2)
    assert [entry.metadata["number"] for entry in entries_in(tmp_path / "box")] == [1, 2, 3]
    (line,) = caplog.messages
    assert "nobody there" in line
    assert str(tmp_path / "box") in line
    store.asked.clear()
    again = Uploader(Outbox(tmp_path / "box"), store)
    assert store.asked.wait(10)
    store.away = False
    assert again.finish(30)
    assert store.arrived == [1, 2, 3]
    assert caplog.messages[1] == line
    assert caplog.messages[2].startswith("Tracking: the store answers again")
    assert len(caplog.messages) == 3


def test_what_the_store_will_never_take_is_put_aside_and_the_rest_goes_on(tmp_path: Path) -> None:
    outbox, store = Outbox(tmp_path / "box"), Store()
    put(outbox, 1)
    outbox.put("tags", {"bad": True})
    put(outbox, 2)
    with pytest.raises(TrackingError, match=r"has refused 1 entries, .*: never"):
        Uploader(outbox, store).finish(10)
    assert store.arrived == [1, 2]


def test_half_written_and_half_removed_entries_do_not_count(tmp_path: Path) -> None:
    box = tmp_path / "box"
    put(Outbox(box), 1, 2)
    (box / "00000001" / "entry.json").unlink()
    (box / "00000001" / "rest").touch()
    (box / ".new-abc").mkdir()
    outbox = Outbox(box)
    assert sorted(path.name for path in box.iterdir()) == ["00000002"]
    put(outbox, 3)
    assert [entry.number for entry in outbox.pending()] == [2, 3]
