"""Where to compute, and in which precision."""

import dataclasses

import torch

from segmentation.config.training import TrainingConfig
from segmentation.errors import ConfigError
from segmentation.utils.memory import keep_memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Compute:
    """A device and its arithmetic."""

    device: torch.device
    precision: str  # `bf16`, `fp16` or `fp32`
    amp: str  # one clause for people: what is used and why

    @property
    def dtype(self) -> torch.dtype | None:
        """The type that autocast uses, None for plain float32."""
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)

    def autocast(self) -> torch.autocast:
        """Return the context in which the network's forward pass runs."""
        return torch.autocast(
            self.device.type, dtype=self.dtype or torch.bfloat16, enabled=self.dtype is not None
        )

    def wait(self) -> None:
        """Wait until the device has done what it was given: a GPU works on its own."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def choose_compute(config: TrainingConfig, local_rank: int = 0) -> Compute:
    """Resolve `device` and `precision`, and prepare this process for computing there.

    Of the processes of a machine that train together each has a GPU of its own, by `local_rank`.

    Raises:
        ConfigError: the device is not there, or cannot do the arithmetic that was asked for.
    """
    device = _device(config.device)
    _claim(device, local_rank)
    precision, reason = _precision(config.precision, device)
    return Compute(device=device, precision=precision, amp=f"{precision} ({reason})")


def _claim(device: torch.device, local_rank: int) -> None:
    """Give this process a GPU of its own; have it keep its memory on a CPU."""
    if device.type == "cpu":
        keep_memory()
    elif device.type == "mps" and local_rank:
        raise ConfigError("processes: with device=mps there can be one; say device=cpu")
    elif device.type == "cuda" and local_rank >= (gpus := torch.cuda.device_count()):
        raise ConfigError(
            f"processes: each needs a GPU of its own, and PyTorch finds {gpus} here; start fewer, "
            "or say device=cpu"
        )
    elif device.type == "cuda" and local_rank:
        torch.cuda.set_device(local_rank)


def _precision(precision: str, device: torch.device) -> tuple[str, str]:
    """Return the precision and why."""
    native = _native_bf16(device)
    if precision == "auto" and native:
        return "bf16", "the hardware has it"
    if precision == "auto" and device.type == "cuda":
        return "fp16", "this GPU has no bf16; the loss is scaled"
    if precision == "auto":
        return "fp32", f"this {device.type} has no bf16 in hardware"
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError(
            f"precision=fp16: needs a CUDA GPU, but the device is {device.type}; say auto"
        )
    slow = ", though the hardware emulates it slowly" if precision == "bf16" and not native else ""
    return precision, f"as asked{slow}"


def _device(name: str) -> torch.device:
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = "cuda" if there["cuda"] else "cpu"  # MPS works on request: it was never measured
    if not there[name]:
        found = ", ".join(kind for kind, yes in there.items() if yes)
        raise ConfigError(f"device={name}: PyTorch finds none here; it finds {found}")
    return torch.device(name)


def _native_bf16(device: torch.device) -> bool:
    """Tell whether bfloat16 products run in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Not there before PyTorch 2.12: float32 then, which is slower and never wrong.
        has: dict[str, bool] = dict(getattr(torch.cpu, "get_capabilities", dict)())
        return any(has.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    return False  # MPS: not measured, so not chosen
