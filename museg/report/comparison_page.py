"""`write_comparison_page`: what `comparison.json` says and the samples of its runs, as one self-contained page.

The page has one script, which draws the questions that are looked at from data in the page. The content policy names
that script by its hash: whatever a model wrote, nothing else on the page can run.
"""

import base64
import hashlib
from pathlib import Path

from markupsafe import Markup

from museg.files import write_whole
from museg.report.comparison_samples import as_script_data, sample_data
from museg.report.comparison_tables import benchmark_tables, run_names
from museg.report.rendering import ReportFiles, packaged, render
from museg.report.tolerant import Defects, clip, number, read_json, text_of

SCRIPT = "comparison.js"
MAX_NAME_CHARS = 40


def write_comparison_page(folder: Path) -> ReportFiles:
    """Write `folder/report.html` from `folder/comparison.json` and the `samples.jsonl` of the folders it names.

    Missing or damaged files shorten the page, and it says so.

    Raises:
        ValueError: `folder` is no folder.
    """
    if not folder.is_dir():
        raise ValueError(f"comparison folder {str(folder)!r} is not a folder; give the one that holds comparison.json")
    defects = Defects()
    comparison = read_json(folder / "comparison.json", defects) or {}
    names = [clip(name, MAX_NAME_CHARS) for name in run_names(comparison)]
    samples = sample_data(comparison, folder, defects)
    script = packaged(SCRIPT)
    html = render(
        "comparison.html",
        names=names,
        tables=benchmark_tables(comparison),
        num_resamples=number(comparison.get("num_resamples")),
        seed=text_of(comparison.get("seed")),
        num_samples=len(samples),
        tasks=list(dict.fromkeys((sample["b"], sample["t"]) for sample in samples)),
        failures=sorted({answer["f"] for sample in samples for answer in sample["a"] if answer and answer["f"]}),
        data=Markup(as_script_data({"runs": names, "samples": samples})),
        script=Markup(script),
        script_hash=script_hash(script),
        folder=text_of(str(folder.resolve())),
        contents=[("comparison.json", "comparison.json", "every number of the tables")] if comparison else [],
        defects=defects.sentences(),
    )
    return ReportFiles(write_whole(folder / "report.html", html), ())


def script_hash(script: str) -> str:
    """The name of a script in a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"
