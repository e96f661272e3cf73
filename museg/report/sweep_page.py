"""`write_sweep_report`: a sweep's folder in, one table as page and CSV and its pictures out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from museg.files import write_whole
from museg.report.drawing import drawing_style
from museg.report.panels import SMOOTHING_SHARE
from museg.report.rendering import ReportFiles, emptied_figures, render
from museg.report.sweep_curves import MAX_DRAWN, draw_sweep
from museg.report.sweep_folder import SweepMember, SweepRecord, read_sweep
from museg.report.sweep_progress import Status
from museg.report.sweep_results import Configuration, choose_baseline, configurations, outcome, remarks
from museg.report.sweep_statistics import CONFIDENCE
from museg.report.sweep_tables import (
    MEMBERS_FILE,
    RESULTS_FILE,
    headline_columns,
    headline_rows,
    markdown_table,
    score_rows,
    write_members,
    write_results,
)
from museg.report.tolerant import text_of

PAGE_FILE = "sweep.html"
CONTENTS = {
    RESULTS_FILE: "every number of the tables, unrounded",
    MEMBERS_FILE: "every member: what it varies, how far it is, its final scores",
    "sweep.json": "the members that were planned",
    "multirun.yaml": "how the sweep was started",
    "figures": "the pictures of this page as PNG",
}


@dataclass(frozen=True)
class SweepReport(ReportFiles):
    """What writing a sweep's page left behind, and its headline as a Markdown table."""

    table: str


def write_sweep_report(
    folder: Path,
    baseline: str | None = None,
    now_s: float | None = None,
    *,
    more: Sequence[Path] = (),
    output: Path | None = None,
) -> SweepReport:
    """Write `sweep.html`, `sweep.csv`, `sweep_members.csv` and `figures/sweep_*.png` into a sweep's folder.

    Members may be missing, running, stopped or failed: the page says which, and counts the finished ones.
    baseline: label of the configuration that the others are compared with (`reward=sequential`); by default the one
    that the sweep records, or the first. more: folders of further sweeps, all read as one. output: where to write,
    by default `folder`.

    Raises:
        ValueError: a folder is no sweep, or no configuration has that label.
    """
    sweep = read_sweep(folder, now_s, more)
    found = configurations(sweep)
    compared = choose_baseline(found, baseline, sweep.baseline)
    place = output or folder
    place.mkdir(parents=True, exist_ok=True)
    figures = emptied_figures(place, "sweep_*.png")
    with drawing_style():
        pictures = draw_sweep(found, compared, figures)
    write_results(place, found, compared)
    write_members(place, sweep, found)
    counts = Counter(member.status for member in sweep.members)
    html = render(
        "sweep.html",
        name=sweep.name,
        outcome=outcome(found, compared),
        unfinished=", ".join(f"{counts[s]} {s.value}" for s in Status if counts[s] and s is not Status.FINISHED),
        num_finished=counts[Status.FINISHED],
        num_members=len(sweep.members),
        has_plan=sweep.has_plan,
        remarks=remarks(sweep, found),
        configurations=found,
        baseline=compared.label if compared else "",
        percent=round(100 * CONFIDENCE),
        columns=headline_columns(found),
        rows=headline_rows(found, compared),
        score_tables=score_rows(found, compared),
        pictures=pictures,
        num_drawn=MAX_DRAWN,
        smoothing_share=SMOOTHING_SHARE,
        members=_member_rows(sweep, found, place),
        contents=_contents(place),
        folder=text_of(str(place.resolve())),
        sources=[text_of(str(one)) for one in (folder, *more)],
        defects=sweep.defects.sentences(),
    )
    path = write_whole(place / PAGE_FILE, html)
    return SweepReport(path, tuple(picture.png for picture in pictures), markdown_table(found, compared))


def _member_rows(
    sweep: SweepRecord, found: Sequence[Configuration], place: Path
) -> list[tuple[SweepMember, str, str, str, str]]:
    """Every member with the label of its configuration, its folder, and links to its own report and to its log."""
    labels = {id(member): configuration.label for configuration in found for member in configuration.members}
    return [
        (member, labels.get(id(member), "not known"), text_of(member.path_from(place)), *_links(member, place))
        for member in sweep.members
    ]


def _links(member: SweepMember, place: Path) -> list[str]:
    """The ways from the page to a member's own report and to its log, empty where there is none."""
    files = [member.run.run_dir / name if member.run else None for name in ("report.html", "slurm.log")]
    return [quote(f"{member.path_from(place)}/{file.name}") if file and file.is_file() else "" for file in files]


def _contents(folder: Path) -> list[tuple[str, str, str]]:
    """(name, link, meaning) of the files and folders of a sweep that are there."""
    there = [(name, folder / name, meaning) for name, meaning in CONTENTS.items()]
    return [(f"{n}/" if path.is_dir() else n, quote(n), meaning) for n, path, meaning in there if path.exists()]
