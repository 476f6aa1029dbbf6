"""Many requests of mixed sizes from several threads, served as the files in export/serving say.

Every answer is what its rows get alone, none is refused, and memory stays flat. Seconds are told, not
judged: they are the machine's. Not the model server: its batching by the stand-in, its C++ session.
"""

import collections
import gc
import pathlib
import re
import threading
import time

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

import serving_protos
from batching_stand_in import Batching
from lcma_tf.serving.runtime.cpp_session import CppSession
from saved_flows import save_flow
from served_cases import encode_file
from testing import assert_same_in_any_batch, random_images, tiny_flow

SERVING = pathlib.Path(__file__).resolve().parents[2] / "export" / "serving"
SHAPE = (8, 8, 3)
CLIENTS = 8
ROWS = (1, 1, 1, 1, 2, 3, 5, 8, 16, 33, 64)
POOL = 256  # Rows that are asked for.
SAMPLES = 20  # Of memory.


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    flow = tiny_flow(image_shape=SHAPE).frozen()
    folder = save_flow(flow, tmp_path_factory.mktemp("export") / "flow")
    config = text_format.Parse(
        (SERVING / "session.config").read_text(), tf.compat.v1.ConfigProto()
    ).SerializeToString()
    threads = re.findall(r"op_parallelism=(\d+)", (SERVING / "docker-compose.yml").read_text())
    with CppSession(folder, threads=int(threads[0]), check=False, config=config) as session:
        yield session


@pytest.fixture
def batching(session):
    text = (SERVING / "batching_parameters.txt").read_text()
    parameters = serving_protos.parse(text, "BatchingParameters")
    batching = Batching(
        session.run,
        max_batch_size=parameters.max_batch_size.value,
        timeout=parameters.batch_timeout_micros.value / 1e6,
        max_enqueued_batches=parameters.max_enqueued_batches.value,
        num_batch_threads=parameters.num_batch_threads.value,
    )
    yield batching
    batching.close()


@pytest.fixture(scope="module")
def requests(session):
    """`POOL` rows for each signature, and what each row is answered alone."""
    images = random_images(POOL, SHAPE)
    inputs = {
        "log_prob": {"images": images},
        "log_prob_encoded": {"image_bytes": np.array([encode_file(i) for i in images], object)},
        "encode": {"images": images},
        "sample": {
            "seed": np.stack([np.full(POOL, 5), np.arange(POOL)], 1).astype(np.int32),
            "temperature": np.linspace(0, 1, POOL, dtype=np.float32),
        },
    }
    alone = {name: answers_alone(session, name, arrays) for name, arrays in inputs.items()}
    inputs["decode"] = {"latents": alone["encode"]["latents"]}
    alone["decode"] = {"images": images}
    return inputs, alone


def answers_alone(session, signature, inputs):
    rows = [
        session.run(signature, {name: array[i : i + 1] for name, array in inputs.items()})
        for i in range(POOL)
    ]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def resident_mib():
    gc.collect()
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


class Clients:
    """Threads that send request after request, each its share of `total`."""

    def __init__(self, batching, requests, total):
        self.batching, (self.inputs, self.alone), self.total = batching, requests, total
        self.names = sorted(self.inputs)
        # Written to now: what is only asked for would be taken, and counted, as the load goes on.
        self.seconds = np.full(total, np.nan)
        self.rows = np.full(total, -1, np.int8)
        self.signatures = np.full(total, -1, np.int8)
        self.done = collections.Counter()
        self.errors = []
        self.memory = []

    def run(self):
        threads = [threading.Thread(target=self._client, args=(i,)) for i in range(CLIENTS)]
        for thread in threads:
            thread.start()
        steps = iter(np.linspace(0, self.total, SAMPLES + 1, dtype=int)[1:-1])
        step = next(steps)
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.02)
            while step is not None and self.done.total() >= step:
                self.memory.append(resident_mib())
                step = next(steps, None)
        for thread in threads:
            thread.join()
        self.memory.append(resident_mib())

    def _client(self, client):
        rng = np.random.default_rng(client)
        try:
            for number in range(client, self.total, CLIENTS):
                self._send(number, rng)
                self.done[client] += 1
        except Exception as error:
            self.errors.append(error)

    def _send(self, number, rng):
        index = rng.integers(len(self.names))
        signature = self.names[index]
        rows = int(rng.choice(ROWS))
        start, step = rng.integers(POOL - rows + 1), 1
        if 2 * rows <= POOL and rng.random() < 0.3:  # Not one piece of memory.
            start, step = rng.integers(POOL - 2 * rows + 1), 2
        part = slice(start, start + step * rows, step)
        inputs = {name: array[part] for name, array in self.inputs[signature].items()}
        before = time.perf_counter()
        answer = self.batching.call(signature, inputs, sorted(self.alone[signature]))
        self.seconds[number] = time.perf_counter() - before
        self.rows[number], self.signatures[number] = rows, index
        for name, expected in self.alone[signature].items():
            assert_same_in_any_batch(answer[name], expected[part], f"{signature}/{name}")
        if signature == "decode":
            np.testing.assert_array_equal(answer["images"], self.alone["decode"]["images"][part])

    def report(self, wall):
        lines = [
            f"{self.total:,} requests of {self.rows.sum(dtype=int):,} rows by {CLIENTS} threads in "
            f"{len(self.batching.batches):,} batches: {wall:.0f} s, {self.total / wall:.0f} a second"
        ]
        parts = {"all": self.seconds}
        parts |= {n: self.seconds[self.signatures == i] for i, n in enumerate(self.names)}
        for name, own in parts.items():
            p50, p99 = 1000 * np.percentile(own, [50, 99])
            lines.append(f"  {name:16} p50 {p50:7.1f} ms   p99 {p99:7.1f} ms")
        lines.append(f"  resident MiB: {' '.join(f'{mib:.0f}' for mib in self.memory)}")
        return "\n".join(lines)


def test_a_long_load_gets_right_answers_and_leaves_memory_flat(
    batching, requests, at_length, capsys, record_property
):
    clients = Clients(batching, requests, at_length(2_000, 100_000))
    started = time.perf_counter()
    clients.run()
    report = clients.report(time.perf_counter() - started)
    record_property("load", report)
    with capsys.disabled():
        print(f"\n{report}")
    assert not clients.errors, clients.errors[:3]
    assert clients.done.total() == clients.total
    assert len(batching.batches) < clients.total, "None were merged."
    # What allocators keep for themselves they have by the middle.
    middle = max(clients.memory[SAMPLES // 4 : SAMPLES // 2 + 1])
    assert min(clients.memory[-SAMPLES // 4 :]) < 1.05 * middle, clients.memory
