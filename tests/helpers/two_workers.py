"""Two processes on loopback that train together, by the real command."""

import contextlib
import csv
import json
import os
import socket
from unittest import mock

import commands

SECONDS = 600  # For whatever is waited for, on a machine that has other things to do.


def free_addresses(n):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{bound.getsockname()[1]}" for bound in sockets]


class Pair:
    """The chief and one more worker, each `python -m lcma_tf.train` with its own workdir flag."""

    def __init__(self, flags, workdirs, second_flags=()):
        cluster = {"worker": free_addresses(2)}
        self.workers = []
        for index, workdir in enumerate(workdirs):
            task = {"cluster": cluster, "task": {"type": "worker", "index": index}}
            # No GPU: two processes cannot share one, and what is compared was made on the CPU.
            there = {"TF_CONFIG": json.dumps(task), "CUDA_VISIBLE_DEVICES": "-1"}
            more = second_flags if index else ()
            with mock.patch.dict(os.environ, there):
                started = commands.Started("lcma_tf.train", *flags, *more, f"--workdir={workdir}")
            self.workers.append(started)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for worker in self.workers:
            if worker.poll() is None:
                worker.kill()
                worker.wait()

    def end(self):
        return [worker.end(SECONDS) for worker in self.workers]


def rows(history):
    with open(history, newline="") as file:
        return list(csv.DictReader(file))


def assert_out_of_touch(ended):
    """Exit code 1 and one sentence, after whatever TensorFlow itself has logged."""
    assert ended.code == 1, ended.err
    assert "Traceback" not in ended.err, ended.err
    last = ended.err.strip().splitlines()[-1]
    assert last.startswith("error: All 2 workers must stay in touch, but one ended"), ended.err
    assert "start all of them again, by the same commands, to go on" in last
