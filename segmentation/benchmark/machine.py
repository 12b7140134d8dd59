"""Which machine it is, and how fast it multiplies matrices."""

import dataclasses
import platform
from collections.abc import Callable
from pathlib import Path

import torch

_SIDE = 2048  # of the matrices: large enough for a CPU or GPU to reach what it can
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


def matrix_product(
    device: torch.device, dtype: torch.dtype, side: int = _SIDE
) -> tuple[Callable[[], object], float]:
    """Return what multiplies two square matrices, and its floating-point operations, 2 n^3."""
    first, second = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    result = torch.empty(side, side, device=device, dtype=dtype)

    def multiply() -> object:
        return torch.mm(first, second, out=result)

    return multiply, 2.0 * side**3


def _processor() -> str:
    """Return the CPU's name as the system tells it."""
    if _CPUINFO.exists():
        for line in _CPUINFO.read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"
