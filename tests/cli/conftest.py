"""What the tests of the command line share."""

import functools

import pytest
from absl import flags

from lcma_tf.cli import flags as flag_config

_DEFINE = {
    kind: getattr(flags, kind)
    for kind in ("DEFINE", *(f"DEFINE_{k}" for k in ("string", "integer", "float", "bool", "enum")))
}


@pytest.fixture
def flags_of(monkeypatch):
    """`flags_of(*argv)`: what `lcma_tf.train` takes from a command line, each time by itself."""

    def flags_of(*argv):
        values = flags.FlagValues()
        for kind, define in _DEFINE.items():
            monkeypatch.setattr(flags, kind, functools.partial(define, flag_values=values))
        monkeypatch.setattr(flag_config, "FLAGS", values)
        flag_config.define_train_flags()
        values(["train", *argv])
        return values

    return flags_of
