"""`lcma-score-images`, or `python -m lcma_tf.score`: every image of an input, scored into one table.

    python -m lcma_tf.score --workdir=RUN --input=FOLDER --output=scores.csv

A row for each image, in order, with every score, or the reason why it has none. Stopped at any moment,
the same command goes on. The exit code is 0 if all images were scored, 3 if some were not. (`lcma-score`
is the client of a model server.)
"""

import pathlib

from lcma_tf import cli
from lcma_tf.cli import run_flags as flag_config


def main() -> None:
    flags = flag_config.FLAGS
    rate, batch_size = flag_config.false_alarm_rate(), flag_config.batch_size()
    from lcma_tf.batch.rows import open_input
    from lcma_tf.batch.score import Job, table_for
    from lcma_tf.batch.scorer import flow_scorer
    from lcma_tf.batch.top import MAX_TOP, draw_top
    from lcma_tf.experiment.calibrated import scored_flow
    from lcma_tf.experiment.workdir import Workdir
    from lcma_tf.files.paths import printable
    from lcma_tf.plots import require_matplotlib

    cli.require(0 <= flags.top <= MAX_TOP, "top", f"0 to {MAX_TOP}", flags.top)
    if flags.top:
        require_matplotlib()
    output, workdir = pathlib.Path(flags.output), Workdir(flags.workdir)
    table_for(output)
    config, _ = workdir.read_configs()
    cli.require(not config.real_valued, "workdir", "a run of 8-bit images", "one of real numbers")
    rows = open_input(flags.input, flags.data_dir)
    flow = scored_flow(workdir, flags.batch_invariant)
    job = Job(rows, flow_scorer(flow, rate), output, batch_size=batch_size, resize=flags.resize)
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


def command() -> None:
    """What the script `lcma-score-images` runs."""
    flag_config.define_score_flags()
    cli.run(main, resumable=True)


if __name__ == "__main__":
    command()
