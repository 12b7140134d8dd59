"""The README's clients, and a registered model behind `mlflow models serve`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.helpers.home import Home
from tests.helpers.programs import good, readme_code
from tests.helpers.serving import served


@pytest.mark.slow
def test_the_readmes_clients_work(home: Home, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(sorted((home.data / "images").iterdir())[0].read_bytes())
    outputs = []
    with served(home, "models:/pet-unet@champion") as server:
        for client in ("curl -s", "urllib.request"):
            code = readme_code(client).replace("127.0.0.1:5001", f"127.0.0.1:{server.port}")
            shell = (
                ["bash", "-euo", "pipefail", "-c"] if "curl" in client else [sys.executable, "-c"]
            )
            done = subprocess.run(
                [*shell, code], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            outputs.append(done.stdout)
    done = good(home.entry("predict", images=tmp_path / "photo.jpg", output=tmp_path / "predicted"))
    answered, predicted = (
        np.array(Image.open(tmp_path / name)) for name in ("mask.png", "predicted/masks/photo.png")
    )
    assert np.array_equal(answered, predicted)
    assert f"'size': {list(predicted.shape)}" in outputs[1]
