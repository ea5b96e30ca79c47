"""What the GPUs in sight are doing, asked of NVIDIA's own library (NVML), which the driver brings.

It needs no package and no CUDA context, which would hold some hundred megabytes of each GPU that is
looked at. Where there is no such library, or no GPU, nothing is told.
"""

import ctypes
import os
from functools import cache
from typing import Any

MEGABYTE = 1e6  # as MLflow's own system metrics count


class _Memory(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in ("total", "free", "used")]


class _Load(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint) for name in ("gpu", "memory")]


def told() -> dict[str, float]:
    """Memory in use, load and power of each GPU that CUDA may see here, named as MLflow does.

    `gpu_0` is the first that CUDA_VISIBLE_DEVICES names, as in PyTorch. All that runs on a GPU
    counts, not this process alone. What a GPU does not tell (a part of one, its load) is left out.
    """
    found: dict[str, float] = {}
    library = _library()
    for number, device in enumerate(_devices(library) if library else []):
        memory, load, power = _Memory(), _Load(), ctypes.c_uint()
        head = f"gpu_{number}"
        if library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0 and memory.total:
            found[f"{head}_memory_usage_megabytes"] = memory.used / MEGABYTE
            found[f"{head}_memory_usage_percentage"] = 100 * memory.used / memory.total
        if library.nvmlDeviceGetUtilizationRates(device, ctypes.byref(load)) == 0:
            found[f"{head}_utilization_percentage"] = float(load.gpu)
        if library.nvmlDeviceGetPowerUsage(device, ctypes.byref(power)) == 0:
            found[f"{head}_power_usage_watts"] = power.value / 1000
    return found


@cache
def _library() -> Any:
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return library if library.nvmlInit_v2() == 0 else None


def _devices(library: Any) -> list[ctypes.c_void_p]:
    """Handles of the GPUs in sight: all, or those that the variable names by number or UUID."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")  # asked each time: steps/gpus.py may set it
    if names is None:
        count = ctypes.c_uint()
        library.nvmlDeviceGetCount_v2(ctypes.byref(count))
        names = ",".join(map(str, range(count.value)))
    found = []
    for name in filter(None, map(str.strip, names.split(","))):
        device = ctypes.c_void_p()
        if name.isdecimal():
            status = library.nvmlDeviceGetHandleByIndex_v2(int(name), ctypes.byref(device))
        else:
            status = library.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(device))
        if status == 0:
            found.append(device)
    return found
