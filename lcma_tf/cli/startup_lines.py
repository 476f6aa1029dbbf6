"""Which lines of TensorFlow's start say nothing to a user; as a program, standard error without them.

TensorFlow 2.21 writes some of them while its libraries are loaded, before it has read
`TF_CPP_MIN_LOG_LEVEL`: no setting keeps them away. A line is dropped only if it is known by its words;
all others pass. What says that no GPU is used passes too where the machine has one: there it is news.
"""

from __future__ import annotations

import glob
import os
import re
import signal
import sys

__all__ = ["has_gpu", "is_noise"]

_ALWAYS = re.compile(
    r"All log messages before absl::InitializeLog\(\) is called are written to STDERR"
    r"|oneDNN custom operations are on"
    r"|This TensorFlow binary is optimized to use available CPU instructions"
    r"|^To enable the following instructions: "
    # The same code is in two of its libraries, and the second one says so.
    r"|Unable to register cu(FFT|DNN|BLAS) factory"
    r"|computation placer already registered"
)
_WITHOUT_GPU = re.compile(
    r"Could not find cuda drivers on your machine, GPU will not be used"
    r"|failed call to cuInit"
    r"|Could not find TensorRT"
    r"|cuda_diagnostics\.cc"
)


def is_noise(line: str, with_gpu: bool) -> bool:
    """Whether TensorFlow writes `line` at every start on a machine with, or without, a GPU."""
    return bool(_ALWAYS.search(line) or (not with_gpu and _WITHOUT_GPU.search(line)))


def has_gpu() -> bool:
    """Whether there is an NVIDIA device, with a driver or without, that the user has not hidden."""
    if os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):
        return False
    if any(map(os.path.exists, ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg"))):
        return True
    return any(_first_line(path) == "0x10de" for path in glob.glob("/sys/bus/pci/devices/*/vendor"))


def _first_line(path: str) -> str:
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return ""


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Whoever writes decides when to end.
    with_gpu = has_gpu()
    for written in sys.stdin.buffer:
        if not is_noise(written.decode(errors="replace"), with_gpu):
            sys.stderr.buffer.write(written)
            sys.stderr.flush()
