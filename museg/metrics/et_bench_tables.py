"""The metric table of every E.T. Bench task."""

from museg.dialogue.et_bench_answers import CAPTION_TASKS, CHOICE_TASKS, TASKS
from museg.metrics.caption_scores import CaptionScorer
from museg.metrics.corrected_et_bench import (
    AllSamplesSummaryTable,
    DecidedChoiceTable,
    ExactGroundedChoiceTable,
    ExactRangeTable,
    OneToOneActionTable,
)
from museg.metrics.dense_captions import CorrectedDenseCaptionTable, EtBenchDenseCaptionTable
from museg.metrics.et_bench_choices import EtBenchChoiceTable, EtBenchGroundedChoiceTable, Similarity
from museg.metrics.et_bench_localisation import (
    EtBenchActionTable,
    EtBenchHighlightTable,
    EtBenchRangeTable,
    EtBenchSummaryTable,
)
from museg.metrics.sample_table import SampleTable

_RANGE_TABLES = ("tvg", "epm", "tem")


def official_table(
    task: str,
    *,
    similarity: Similarity | None = None,
    captions: CaptionScorer | None = None,
    num_options: int | None = None,
) -> SampleTable:
    """An empty table for one (task, source) of the published script.

    `similarity` is needed by rar, eca, rvq and gvq, `num_options` (of the group's first sample) by the first three;
    dvc and slc report no caption scores without `captions`. Tables take `update(position, text, row)`.
    """
    _check(task, similarity, num_options)
    if task in CAPTION_TASKS:
        return EtBenchDenseCaptionTable(captions)
    if task in CHOICE_TASKS:
        return EtBenchChoiceTable(similarity, num_options)
    if task == "gvq":
        return EtBenchGroundedChoiceTable(similarity)
    if task in _RANGE_TABLES:
        return EtBenchRangeTable(task)
    return {"tal": EtBenchActionTable, "evs": EtBenchSummaryTable, "vhd": EtBenchHighlightTable}[task]()


def corrected_table(
    task: str,
    *,
    similarity: Similarity | None = None,
    captions: CaptionScorer | None = None,
    num_options: int | None = None,
) -> SampleTable | None:
    """An empty table of what the script should report; None where it is right. Arguments as for `official_table`."""
    _check(task, similarity, num_options)
    if task in CAPTION_TASKS:
        return CorrectedDenseCaptionTable(captions)
    if task in CHOICE_TASKS:
        return DecidedChoiceTable(similarity, num_options)
    if task == "gvq":
        return ExactGroundedChoiceTable(similarity)
    if task in _RANGE_TABLES:
        return ExactRangeTable(task)
    return {"tal": OneToOneActionTable, "evs": AllSamplesSummaryTable, "vhd": lambda: None}[task]()


def _check(task: str, similarity: Similarity | None, num_options: int | None) -> None:
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r} of E.T. Bench; one of {', '.join(TASKS)}")
    if task in (*CHOICE_TASKS, "gvq") and similarity is None:
        raise ValueError(f"{task} compares an answer without a letter with the options: give a similarity of texts")
    if task in CHOICE_TASKS and num_options is None:
        raise ValueError(f"{task} needs the number of options of its first sample")
