"""The device and its precision: as asked, the best there is, or refused."""

from typing import Any

import pytest
import torch

from segmentation.config.training import TrainingConfig
from segmentation.errors import ConfigError
from segmentation.runtime.device import choose_compute


@pytest.mark.parametrize(
    ("capabilities", "amp"),
    [
        ({"avx512_bf16": True}, "bf16 (the hardware has it)"),
        ({"amx_bf16": True}, "bf16 (the hardware has it)"),
        ({"avx512_f": True}, "fp32 (this cpu has no bf16 in hardware)"),
    ],
)
def test_automatic_precision_is_what_the_processor_has_and_is_said(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], amp: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    compute = choose_compute(TrainingConfig(device="cpu"))
    assert compute.amp == amp
    assert (compute.dtype is torch.bfloat16) == amp.startswith("bf16")
    assert choose_compute(TrainingConfig(device="cpu", precision="fp32")).dtype is None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"device": "cpu", "precision": "fp16"}, "precision=fp16: needs a CUDA GPU"),
        pytest.param(
            {"device": "cuda"},
            "device=cuda: PyTorch finds none here; it finds cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA GPU is here"),
        ),
    ],
)
def test_what_is_not_there_is_refused(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_compute(TrainingConfig(**asked))
