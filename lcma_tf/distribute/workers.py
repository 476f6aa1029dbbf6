"""The processes of one run on several hosts: who writes its files, and what the others are told.

Every host starts the same command with a `TF_CONFIG` that lists all of them. Only the chief reads and
writes the folder of the run; the others train with it and are told whatever they need to know: no
decision is made twice, and no shared file system is needed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lcma_tf.config import ConfigError
from lcma_tf.errors import UserError

__all__ = ["Cluster", "WorkerError", "Workers"]

_JOBS = ("chief", "worker")
# What an operation of all workers ends with when one of them is gone.
_OUT_OF_TOUCH = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
)


class WorkerError(UserError, RuntimeError):
    """Another worker failed. If the chief could still say why, the message is its own."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where this process stands among those that train together.

    Args:
        num_workers: how many there are.
        index: which one this is; 0 is the chief.
    """

    num_workers: int = 1
    index: int = 0

    @classmethod
    def from_environment(cls) -> Cluster:
        """What `TF_CONFIG` says, in TensorFlow's format; one process if there is none.

        Raises:
            ConfigError: it is not of that format, or lists other tasks than `chief` and `worker`.
        """
        text = os.environ.get("TF_CONFIG", "")
        if not text.strip():
            return cls()
        try:
            jobs = dict(json.loads(text).get("cluster") or {})
            addresses = [(job, i) for job in _JOBS for i in range(len(jobs.get(job, [])))]
            task = json.loads(text).get("task") or {}
            here = (str(task.get("type")), int(task.get("index", 0)))
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(
                "`TF_CONFIG` must be JSON with `cluster`, lists of host:port by task type, and "
                f"`task`, type and index; got {text!r}."
            ) from error
        if not jobs:
            return cls()
        others = sorted(set(jobs) - set(_JOBS))
        if others or len(jobs.get("chief", [])) > 1:
            raise ConfigError(
                "`TF_CONFIG` must list tasks of type worker, and at most one chief; "
                f"got {', '.join(others) or 'several chiefs'}."
            )
        if here not in addresses:
            raise ConfigError(
                "`TF_CONFIG` must name a `task` that its `cluster` lists; "
                f"got {json.dumps(task)} and {len(addresses)} tasks."
            )
        return cls(len(addresses), addresses.index(here))


class Workers:
    """What the workers under one strategy say to one another; alone, a worker talks to itself.

    Its methods are called by all workers, in the same order, outside of `strategy.run`: each waits for
    the others.

    Args:
        strategy: of `lcma_tf.distribute.strategy.make_strategy`.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        several = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
        cluster = Cluster.from_environment() if several else Cluster()
        self._strategy = strategy
        self.num_workers = cluster.num_workers
        self.is_chief = cluster.index == 0

    @contextlib.contextmanager
    def in_touch(self) -> Iterator[None]:
        """Around whatever workers do together: if one is gone, the others say so.

        TensorFlow notices within half a minute, whatever each of them was at.

        Raises:
            WorkerError: another worker ended or cannot be reached.
        """
        try:
            yield
        except _OUT_OF_TOUCH as error:
            if self.num_workers == 1:
                raise
            told = re.sub(r"\{\{.*?\}\}\s*", "", error.message).partition("\n")[0]
            raise WorkerError(
                f"All {self.num_workers} workers must stay in touch, but one ended or cannot be "
                "reached: start all of them again, by the same commands, to go on from the last "
                f"checkpoint; TensorFlow's {type(error).__name__} says: {told}"
            ) from error

    def on_chief(self, function: Callable[[], Any]) -> Any:
        """Calls `function` on the chief alone; every worker gets what it returned.

        Args:
            function: returns what JSON can hold; a tuple arrives as a list.

        Raises:
            WorkerError: it raised; on the chief, that exception itself.
        """
        if self.num_workers == 1:
            return function()
        failure, message = None, {}
        if self.is_chief:
            try:
                message = {"value": function()}
            except Exception as error:  # Told first: the others would wait in vain.
                failure, message = error, {"failure": f"{type(error).__name__}: {error}"}
        message = self._tell(message)
        if failure is not None:
            raise failure
        if "failure" in message:
            raise WorkerError(f"The chief ended with {message['failure']}")
        return message["value"]

    def check_equal(self, describe: Callable[[], Mapping[str, Any]]) -> None:
        """Raises `ConfigError`, on every worker, unless `describe` returns the same on all.

        Args:
            describe: returns values by name, such as JSON can hold; not called if there is one worker.
        """
        if self.num_workers == 1:
            return
        here = json.loads(json.dumps(describe()))
        chief = self._tell(here)
        differing = [
            f"{name}={chief.get(name)!r} on the chief and {here.get(name)!r} here"
            for name in sorted(here.keys() | chief.keys())
            if here.get(name) != chief.get(name)
        ]
        count = int(self._sum(np.int32(bool(differing))))
        if count:
            raise ConfigError(
                f"Flags and data must be the same on all {self.num_workers} workers; "
                f"got {'; '.join(differing) or f'others on {count} of them'}."
            )

    def share(self, variables: Sequence[keras.Variable]) -> None:
        """Gives the variables of every worker the chief's values."""
        if self.num_workers == 1:
            return
        for variable in variables:
            variable.assign(self._from_chief(np.asarray(variable)))

    def _tell(self, message: Any) -> Any:
        text = np.frombuffer(json.dumps(message).encode(), np.uint8).astype(np.int32)
        length = int(self._from_chief(np.int32(len(text))))
        text = self._from_chief(np.resize(text, length))
        return json.loads(text.astype(np.uint8).tobytes())

    def _from_chief(self, value):
        # A sum with zeros is exact, and needs nothing of a strategy but its public reduction.
        return self._sum(value if self.is_chief else np.zeros_like(value))

    def _sum(self, value):
        # The identity: a constant may be on a device of no worker, and collective ops look at it.
        tensor = tf.identity(tf.convert_to_tensor(value))
        return self._strategy.reduce(tf.distribute.ReduceOp.SUM, tensor, axis=None).numpy()
