"""`lcma-score-images`, or `python -m lcma_tf.score`: every image of an input, scored into one table.

    python -m lcma_tf.score --workdir=RUN --input=FOLDER --output=scores.csv
    python -m lcma_tf.score --saved_model=VERSION --input=FOLDER --output=scores.csv

By a run, or by an export of it. A row for each image, in order, with every score, or the reason why it
has none. Stopped at any moment, the same command goes on. The exit code is 0 if all images were scored,
3 if some were not. (`lcma-score` is the client of a model server.)
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from lcma_tf import cli
from lcma_tf.cli import run_flags as flag_config

if TYPE_CHECKING:
    from lcma_tf.batch.scorer import Scorer


def main() -> None:
    flags = flag_config.FLAGS
    rate, batch_size = flag_config.false_alarm_rate(), flag_config.batch_size()
    from lcma_tf.batch.output_files import own_files
    from lcma_tf.batch.rows import open_input
    from lcma_tf.batch.score import Job, table_for
    from lcma_tf.batch.top import MAX_TOP, check_sheet, draw_top
    from lcma_tf.distribute.strategy import set_intra_op_threads
    from lcma_tf.files.paths import printable
    from lcma_tf.plots import require_matplotlib

    cli.require(0 <= flags.top <= MAX_TOP, "top", f"0 to {MAX_TOP}", flags.top)
    if flags.top:
        require_matplotlib()
    output = pathlib.Path(flags.output)
    table_for(output)
    if flags.top:
        check_sheet(output)
    of_run = flags.saved_model is None
    make_scorer = _scorer_of_run(rate) if of_run else _scorer_of_export(rate, batch_size)
    set_intra_op_threads(flags.intra_op_threads)
    rows = open_input(flags.input, flags.data_dir, without=own_files(output))
    job = Job(rows, make_scorer(), output, batch_size=batch_size, resize=flags.resize)
    if rows.note:
        print(printable(rows.note))
    found = job.run()
    if found.was_there:
        print("complete already, of this input and flow:")
    print(f"{printable(output)}: {found.scored} images scored, {found.failed} not")
    if flags.top:
        sheet = draw_top(job, flags.top)
        print("no sheet: no image has a score" if sheet is None else printable(sheet))
    cli.exit_if_failed(f"{found.failed} of {len(rows)} images", found.failed)


def _scorer_of_run(rate: float | None) -> Callable[[], Scorer]:
    """What makes the scorer of `--workdir`, once the input is known: it takes seconds."""
    from lcma_tf.batch.scorer import flow_scorer
    from lcma_tf.experiment.calibrated import scored_flow
    from lcma_tf.experiment.workdir import Workdir

    flags = flag_config.FLAGS
    workdir = Workdir(flags.workdir)
    config, _ = workdir.read_configs()
    cli.require(not config.real_valued, "workdir", "a run of 8-bit images", "one of real numbers")
    return lambda: flow_scorer(scored_flow(workdir, flags.batch_invariant), rate)


def _scorer_of_export(rate: float | None, batch_size: int) -> Callable[[], Scorer]:
    """Likewise that of `--saved_model`."""
    from lcma_tf.batch.export_scorer import export_scorer

    flags = flag_config.FLAGS
    rule = "left out with saved_model: it is what the version was exported with"
    cli.require(not flags.batch_invariant, "batch_invariant", rule, True)
    return lambda: export_scorer(flags.saved_model, rate, batch_size)


def command() -> None:
    """What the script `lcma-score-images` runs."""
    flag_config.define_score_flags()
    cli.run(main, resumable=True)


if __name__ == "__main__":
    command()
