"""Write the report of a run folder again: `python -m museg.commands.report outputs/name/date`."""

import argparse
import sys
from pathlib import Path

from museg.report.page import write_report


def main(arguments: list[str] | None = None) -> int:
    """Write the report and print where it is; exit status 2 with one line of explanation when that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m museg.commands.report", description=__doc__)
    parser.add_argument("run_dir", type=Path, metavar="RUN_DIR", help="folder of a run: the one that holds metrics.csv")
    run_dir = parser.parse_args(arguments).run_dir
    try:
        written = write_report(run_dir)
    except (ValueError, OSError) as problem:
        print(f"no report written: {problem}", file=sys.stderr)
        return 2
    print(f"report   {written.html}")
    print(f"figures  {run_dir / 'figures'} ({len(written.pngs)} pictures)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
