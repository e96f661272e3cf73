"""Write the report of a run folder again, or that of a sweep.

python -m museg.commands.report outputs/name/date
python -m museg.commands.report sweep=outputs/sweeps/name/date [baseline=reward=sequential]
"""

import argparse
import sys
from pathlib import Path

from museg.report.page import write_report

SWEEP, BASELINE = "sweep=", "baseline="


def main(arguments: list[str] | None = None) -> int:
    """Write the report and print where it is; exit status 2 with one line of explanation when that cannot be done."""
    about, _, examples = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m museg.commands.report",
        description=about,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        metavar="RUN_DIR | sweep=DIR",
        help="the folder that holds metrics.csv, or the one that holds the runs",
    )
    parser.add_argument(
        "baseline",
        nargs="?",
        metavar="baseline=CONFIGURATION",
        help="of a sweep: what the others are compared with, as its report names it; the first where it is left out",
    )
    given = parser.parse_args(arguments)
    if given.baseline and not (given.baseline.startswith(BASELINE) and given.folder.startswith(SWEEP)):
        parser.error(f"{given.baseline}: beside sweep=DIR there may be baseline=CONFIGURATION, and nothing else")
    try:
        if given.folder.startswith(SWEEP):
            report_sweep(Path(given.folder.removeprefix(SWEEP)), (given.baseline or "").removeprefix(BASELINE) or None)
        else:
            report_run(Path(given.folder))
    except (ValueError, OSError) as problem:
        print(f"no report written: {problem}", file=sys.stderr)
        return 2
    return 0


def report_run(run_dir: Path) -> None:
    """Write a run's report and say where it is."""
    written = write_report(run_dir)
    print(f"report   {written.html}")
    print(f"figures  {run_dir / 'figures'} ({len(written.pngs)} pictures)")


def report_sweep(folder: Path, baseline: str | None) -> None:
    """Write a sweep's report, print its headline as a table, and say where it is."""
    from museg.report.sweep_page import write_sweep_report  # with scipy, which a run's report does without

    written = write_sweep_report(folder, baseline)
    print(written.table)
    print(f"report   {written.html}")
    print(f"numbers  {folder / 'sweep.csv'}, {folder / 'sweep_members.csv'}")
    print(f"figures  {folder / 'figures'} ({len(written.pngs)} pictures)")


if __name__ == "__main__":
    sys.exit(main())
