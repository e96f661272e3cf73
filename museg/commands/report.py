"""Write the report of a run folder again, or that of a sweep.

python -m museg.commands.report outputs/name/date
python -m museg.commands.report sweep=outputs/sweeps/name/date
python -m museg.commands.report sweep=outputs/sweeps/name/date baseline=reward=maximum
python -m museg.commands.report sweep=[outputs/sweeps/name/date,outputs/sweeps/name/other] output=outputs/both

Several folders are read as one sweep, such as the same experiment with other seeds. baseline= names the
configuration that the others are compared with, as the report calls it; without it, the one that the experiment
records, or the first. The page goes to output=, or into the first folder.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from museg.commands.key_values import key_values
from museg.report.page import write_report
from museg.report.sweep_folder import is_sweep

KEYS = ("sweep", "baseline", "output")


def main(arguments: list[str] | None = None) -> int:
    """Write the report and print where it is; exit status 2 with one line of explanation when that cannot be done."""
    about, _, examples = (__doc__ or "").partition("\n")
    parser = argparse.ArgumentParser(
        prog="python -m museg.commands.report",
        usage="%(prog)s RUN_DIR | sweep=DIR [baseline=CONFIGURATION] [output=DIR]",
        description=about,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="+", help=argparse.SUPPRESS)
    words = parser.parse_args(arguments).words
    try:
        if len(words) == 1 and ("=" not in words[0] or Path(words[0]).is_dir()):
            report_run(Path(words[0]))
        else:
            report_sweep(key_values(words, KEYS, "sweep=outputs/sweeps/name/date"))
    except (ValueError, OSError) as problem:
        print(f"no report written: {problem}", file=sys.stderr)
        return 2
    return 0


def report_run(run_dir: Path) -> None:
    """Write a run's report and say where it is."""
    if is_sweep(run_dir):
        raise ValueError(
            f"{run_dir} holds runs and is none itself; give one of them, or all of them as sweep={run_dir}"
        )
    written = write_report(run_dir)
    print(f"report   {written.html}")
    print(f"figures  {run_dir / 'figures'} ({len(written.pngs)} pictures)")


def report_sweep(given: Mapping[str, str]) -> None:
    """Write the report of one sweep or of several as one, print its headline as a table, and say where it is."""
    from museg.report.sweep_page import write_sweep_report  # with scipy, which a run's report does without

    folder, *more = folders(given.get("sweep", ""))
    output = Path(given["output"]) if "output" in given else folder
    written = write_sweep_report(folder, given.get("baseline"), more=more, output=output)
    print(written.table)
    print(f"report   {written.html}")
    print(f"numbers  {output / 'sweep.csv'}, {output / 'sweep_members.csv'}")
    print(f"figures  {output / 'figures'} ({len(written.pngs)} pictures)")


def folders(text: str) -> list[Path]:
    """The folders that `A` or `[A,B]` names. Raises ValueError where it names none."""
    names = text[1:-1].split(",") if text.startswith("[") and text.endswith("]") else [text]
    if not all(names):
        raise ValueError("sweep= takes the folder of a sweep, or several as sweep=[A,B]")
    return [Path(name.strip()) for name in names]


if __name__ == "__main__":
    sys.exit(main())
