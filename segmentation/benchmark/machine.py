"""Which machine it is, and how fast it multiplies matrices."""

import contextlib
import dataclasses
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

#: Sides of the matrices: large enough for a CPU or another device to reach what it can.
_SIDE, _SIDE_ELSEWHERE = 2048, 8192
_CPUINFO = Path("/proc/cpuinfo")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine:
    """What computes.

    Attributes:
        processor: the maker's name of CPU or GPU.
        threads: of PyTorch.
        pytorch: its version.
        device: `cpu`, `cuda` or `mps`.
    """

    processor: str
    threads: int
    pytorch: str
    device: str

    @classmethod
    def of(cls, device: torch.device) -> "Machine":
        """Look at the machine."""
        on_gpu = device.type == "cuda"
        return cls(
            processor=torch.cuda.get_device_name(device) if on_gpu else _processor(),
            threads=torch.get_num_threads(),
            pytorch=str(torch.__version__),
            device=device.type,
        )

    def tags(self) -> dict[str, str]:
        """Return what a run is tagged with."""
        return {
            "processor": self.processor,
            "threads": str(self.threads),
            "torch": self.pytorch,
            "device": self.device,
        }

    def line(self) -> str:
        """Say it in a line."""
        return (
            f"Machine: {self.processor}, {self.device}, {self.threads} threads, "
            f"PyTorch {self.pytorch}"
        )


def matrix_product(device: torch.device, dtype: torch.dtype) -> tuple[Callable[[], object], float]:
    """Return what multiplies two square matrices, and its floating-point operations, 2 n^3."""
    side = _SIDE if device.type == "cpu" else _SIDE_ELSEWHERE
    first, second = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    result = torch.empty(side, side, device=device, dtype=dtype)

    def multiply() -> object:
        return torch.mm(first, second, out=result)

    return multiply, 2.0 * side**3


@contextlib.contextmanager
def products_as_convolutions() -> Iterator[None]:
    """Let a CUDA GPU multiply float32 matrices as it computes float32 convolutions.

    By default PyTorch takes TF32 for convolutions and not for products, of which the network's
    convolutions could then reach more than all.
    """
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def float32_name(device: torch.device) -> str:
    """Return what float32 is on a device: on a CUDA GPU its factors may be cut to TF32."""
    cut = device.type == "cuda" and torch.backends.cudnn.allow_tf32
    return "fp32 (convolutions and products in TF32)" if cut else "fp32"


def _processor() -> str:
    """Return the CPU's name as the system tells it."""
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"
