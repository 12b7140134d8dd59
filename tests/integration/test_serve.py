"""A registered model as a server: photos in, masks out, and no request that it fails on."""

import base64
import contextlib
import http.client
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import mlflow
import numpy as np
import pytest
import torch
import uvicorn
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from mlflow.pyfunc import scoring_server
from numpy.typing import NDArray
from PIL import Image

from tests.helpers.corpus import RGB, png
from tests.helpers.home import Home
from tests.helpers.in_process import isolated
from tests.helpers.programs import Program, documented, good
from tests.helpers.servers import free_port
from tests.helpers.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore")  # as errors they would be answers of the server

JSON = {"Content-Type": "application/json"}


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def picture(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        return np.array(image)


class Answer(NamedTuple):
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def sentence(self) -> str:
        try:
            told = self.json()
        except ValueError:
            return self.body.decode(errors="replace")
        return str(told.get("message", told.get("detail", "")) if isinstance(told, dict) else told)


class Server(NamedTuple):
    port: int

    def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """Send one request to `/invocations`, with these headers and no others of weight."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request("POST", "/invocations", body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())

    def ask(self, request: object) -> Answer:
        return self.post(json.dumps(request).encode(), JSON)


@pytest.fixture(scope="module")
def server(home: Home) -> Iterator[Server]:
    """MLflow's own server of models, in a thread of this process."""
    with isolated(home.folder, home.environment()):
        mlflow.set_tracking_uri(home.store)
        app = scoring_server.init(mlflow.pyfunc.load_model("models:/pet-unet@champion"))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield Server(port)
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def photo(home: Home) -> bytes:
    return sorted((home.data / "images").iterdir())[0].read_bytes()


def expected(home: Home, photo: bytes) -> NDArray[np.bool_]:
    """The mask as the same model gives it from tensors."""
    mlflow.set_tracking_uri(home.store)
    model = mlflow.pytorch.load_model("models:/pet-unet@champion")
    with Image.open(io.BytesIO(photo)) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)[None]
    with torch.inference_mode():
        return np.asarray(model(pixels)[0, 0].numpy() > home.threshold)


def test_a_photo_is_answered_with_the_mask_that_the_model_gives_from_tensors(
    home: Home, server: Server, photo: bytes
) -> None:
    mask = expected(home, photo)
    forms = (
        {"inputs": [text(photo)]},
        {"instances": [text(photo)]},
        {"dataframe_split": {"columns": ["image"], "data": [[text(photo)]]}},
        {"dataframe_records": [{"image": text(photo)}]},
        {"inputs": ["data:image/jpeg;base64," + text(photo)]},
    )
    for form in forms:
        answer = server.ask(form)
        assert answer.status == 200, (form.keys(), answer.sentence())
        (one,) = answer.json()["predictions"]
        assert np.array_equal(picture(base64.b64decode(one["mask"])), mask * 255)
        assert one["pet_share"] == pytest.approx(mask.mean())
    csv = server.post(f"image\n{text(photo)}\n".encode(), {"Content-Type": "text/csv"})
    assert csv.status == 200, csv.sentence()


def test_the_documented_clients_get_the_mask_that_predict_writes(
    home: Home, server: Server, photo: bytes, tmp_path: Path
) -> None:
    (tmp_path / "photo.jpg").write_bytes(photo)
    client = Program(tmp_path, tmp_path / "cache")
    shells = {"curl -s": ["bash", "-euo", "pipefail", "-c"], "urllib.request": ["python", "-c"]}
    outputs = []
    for code, shell in shells.items():
        here = documented("predicting.md", code).replace(":5001", f":{server.port}")
        outputs.append(good(client.run(*shell, here)).stdout)
    good(home.entry("predict", images=tmp_path / "photo.jpg", output=tmp_path / "predicted"))
    names = ("mask.png", "predicted/masks/photo.png")
    answered, predicted = (picture((tmp_path / name).read_bytes()) for name in names)
    assert np.array_equal(answered, predicted)
    assert f"'size': {list(predicted.shape)}" in outputs[1]


def test_run_lengths_and_thresholds_on_request(home: Home, server: Server, photo: bytes) -> None:
    mask = expected(home, photo)
    answer = server.ask({"inputs": [text(photo)], "params": {"format": "rle"}})
    (one,) = answer.json()["predictions"]
    lengths = one["mask"]["counts"]
    pixels = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    assert np.array_equal(pixels.reshape(one["mask"]["size"], order="F"), mask)
    strict = server.ask({"inputs": [text(photo)], "params": {"threshold": 0.9}})
    assert strict.json()["predictions"][0]["pet_share"] < one["pet_share"]


def bomb(side: int = 100_000) -> bytes:
    """A PNG of so many by so many pixels in a few bytes."""
    return png(side, side, 8, RGB, b"\0" * 99)


NAMED: dict[str, tuple[bytes, dict[str, str], str]] = {
    "empty body": (b"", JSON, "valid JSON"),
    "no content type": (b"{}", {}, "say the content type"),
    "no photo": (b'{"inputs": []}', JSON, "at least one photo"),
    "not base64": (b'{"inputs": ["?!"]}', JSON, "photo 1 of 1 is not base64"),
    "no picture": (json.dumps({"inputs": [text(b"hello")]}).encode(), JSON, "is not a JPEG"),
    "a bomb": (json.dumps({"inputs": [text(bomb())]}).encode(), JSON, "bomb"),
    "deep JSON": (b"[" * 100_000, JSON, "cannot be read"),
    "strange threshold": (b'{"inputs": [""], "params": {"threshold": 2}}', JSON, "threshold=2"),
}


@pytest.mark.parametrize("name", NAMED)
def test_what_cannot_be_answered_is_refused_with_a_sentence(server: Server, name: str) -> None:
    body, headers, sentence = NAMED[name]
    answer = server.post(body, headers)
    assert 400 <= answer.status < 500
    assert sentence in answer.sentence()
    assert b"Traceback" not in answer.body


def requests(photo: bytes) -> st.SearchStrategy[tuple[bytes, dict[str, str]]]:
    """Malformed requests: noise, broken JSON, wrong structures, damaged and hostile pictures."""
    types = st.sampled_from(
        [
            *("application/json", "text/csv", "application/vnd.apache.parquet", "image/png"),
            *("application/json; charset=latin-1", "application/json; x=1", "", "a/b/c", ";;;"),
        ]
    )
    plain = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=8,
    )
    keys = st.sampled_from(["inputs", "instances", "dataframe_split", "dataframe_records", "x"])

    # Cut within the first half, so that no decoder finds a whole picture, whatever follows.
    cut = st.integers(0, len(photo) // 2).map(lambda length: photo[:length])
    damaged = st.builds(bytes.__add__, cut, st.binary(max_size=60))
    pictures = damaged | st.binary(max_size=60) | st.just(bomb()) | st.just(bomb(9000))
    photos = st.lists(pictures.map(text), min_size=1, max_size=2)
    bodies: list[st.SearchStrategy[bytes]] = [
        st.binary(max_size=200),
        st.text(max_size=100).map(lambda t: t.encode(errors="replace")),
        plain.map(lambda value: json.dumps(value).encode()),
        st.builds(lambda key, value: json.dumps({key: value}).encode(), keys, plain),
        st.builds(lambda p, v: json.dumps({"inputs": p, "params": v}).encode(), photos, plain),
        photos.map(lambda p: json.dumps({"inputs": p}).encode()),
        st.integers(1, 60_000).map(lambda depth: b'{"inputs":' + b"[" * depth),
    ]
    with_type = types.map(lambda kind: {"Content-Type": kind} if kind else {})
    json_mostly = st.one_of(st.just(JSON), st.just(JSON), with_type)
    return st.tuples(st.one_of(bodies), json_mostly)


@pytest.mark.parametrize("number", [75, pytest.param(1000, marks=pytest.mark.full)])
def test_no_malformed_request_is_answered_by_500(server: Server, photo: bytes, number: int) -> None:
    """After each hundred the server still answers a good one."""
    sent = 0

    @seed(20)
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(requests(photo))
    def send(request: tuple[bytes, dict[str, str]]) -> None:
        nonlocal sent
        body, headers = request
        answer = server.post(body, headers)
        sent += 1
        assert 400 <= answer.status < 500, (answer.status, headers, body[:300], answer.body[:300])
        assert len(answer.sentence()) >= 10, answer.body[:300]
        assert b"Traceback" not in answer.body
        if sent % 100 == 0:
            assert server.ask({"inputs": [text(photo)]}).status == 200

    send()
    assert server.ask({"inputs": [text(photo)]}).status == 200
    assert sent > 0.9 * number
