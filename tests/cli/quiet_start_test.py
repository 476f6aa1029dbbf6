"""The console of a command: nothing that alarms and means nothing, and everything else."""

import os
import subprocess
import sys

import pytest

import commands
from lcma_tf.cli.convolutions import TOLD, _features, chosen
from lcma_tf.cli.quiet_start import _filtered
from lcma_tf.cli.startup_lines import has_gpu, is_noise

NOISE = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1.1 7 port.cc:153] oneDNN custom operations are on. You may see slightly different",
    "I0000 00:00:1.1 7 cpu_feature_guard.cc:227] This TensorFlow binary is optimized to use available "
    "CPU instructions in performance-critical operations.",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow",
    "E0000 00:00:1.1 7 cuda_dnn.cc:8579] Unable to register cuDNN factory: Attempting to register",
    "W0000 00:00:1.1 7 computation_placer.cc:177] computation placer already registered. Please check",
]
NO_GPU = [
    "I0000 00:00:1.1 7 cudart_stub.cc:31] Could not find cuda drivers on your machine, "
    "GPU will not be used.",
    "E0000 00:00:1.1 7 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call",
]
REAL = [
    "F0000 00:00:1.1 7 cpu_feature_guard.cc:110] The TensorFlow library was compiled to use AVX "
    "instructions, but these aren't available on your machine.",
    "W0000 00:00:1.1 7 cpu_allocator_impl.cc:83] Allocation of 1 exceeds 10% of free system memory.",
    "E0000 00:00:1.1 7 gpu_device.cc:1] Could not create a cuDNN handle",
    "Traceback (most recent call last):",
]


def test_lines_are_told_apart_by_their_words():
    for with_gpu in (False, True):
        assert all(is_noise(line, with_gpu) for line in NOISE)
        assert not any(is_noise(line, with_gpu) for line in REAL)
        assert all(is_noise(line, with_gpu) != with_gpu for line in NO_GPU)


def test_a_gpu_that_is_hidden_is_none(monkeypatch):
    monkeypatch.setattr("glob.glob", lambda pattern: [])
    monkeypatch.setattr("os.path.exists", lambda path: path == "/dev/nvidiactl")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert not has_gpu()


def test_all_else_passes_and_the_end_is_as_the_beginning(capfd):
    with _filtered():
        for line in (NOISE[0], REAL[1], NO_GPU[1], REAL[2]):
            os.write(2, f"{line}\n".encode())
    os.write(2, b"after\n")
    expected = [REAL[1], *([NO_GPU[1]] if has_gpu() else []), REAL[2], "after"]
    assert capfd.readouterr().err.splitlines() == expected


def test_what_is_written_before_an_abort_arrives():
    program = (
        "import os\n"
        "from lcma_tf.cli.quiet_start import _filtered\n"
        f"with _filtered():\n    os.write(2, {REAL[0].encode()!r}); os.abort()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=commands.ROOT, capture_output=True, text=True
    )
    assert ended.returncode < 0 and ended.stderr == REAL[0]


@pytest.mark.skipif(has_gpu(), reason="What a GPU says at its start is not known here.")
def test_a_command_of_a_user_says_nothing_that_alarms(finished, tmp_path):
    """As a user starts it, with nothing in the environment."""
    environment = {
        name: v for name, v in os.environ.items() if not name.startswith(("TF_", "CUDA_"))
    }
    command = commands.as_flags(workdir=finished.workdir, output=tmp_path / "a.png", num_samples=1)
    ended = subprocess.run(
        [sys.executable, "-m", "lcma_tf.sample", *command],
        cwd=commands.ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    own = "" if chosen(_features()) is None else f"{TOLD}\n"  # Of the processor.
    assert (ended.returncode, ended.stderr) == (0, own)
    assert ended.stdout == f"{tmp_path / 'a.png'}\n"
