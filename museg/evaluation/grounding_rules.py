"""Rules for benchmarks whose answers are segments: the released script's, the field's, and moment retrieval."""

from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.rule import EVERYTHING, Rule, Tables
from museg.evaluation.samples import Answer, BenchmarkSample, Reading
from museg.metrics.corrected_grounding import ExactGroundingTable, OneToOneGroundingTable
from museg.metrics.field_grounding import FieldGroundingTable
from museg.metrics.highlights import CorrectedHighlightTable, HighlightTable
from museg.metrics.moment_retrieval import CorrectedMomentRetrievalTable, MomentRetrievalTable
from museg.metrics.released_grounding import ReleasedGroundingTable
from museg.metrics.sample_table import SampleTable
from museg.metrics.window_scores import saliency_of, windows_of

TEXTS = (None, AnswerFault.NO_ANSWER_BLOCK.value, AnswerFault.EMPTY.value, AnswerFault.NO_EVENT.value)
"""Faults of answers that are texts, if ones that name no window."""


class ReleasedGroundingRule(Rule):
    """The released grounding script, by the task that its command line names; None: by each sample's own."""

    official_source = "THUNLP-MT/MUSEG 889565e, src/eval_grounding.py"

    def __init__(self, task: str | None) -> None:
        self.task = task
        self.name = f"released_{task or 'by_task'}"
        quoted = {"tvg": "mean_f1_single", "tal": "mean_f1_multi"}
        official = [quoted[task]] if task else list(quoted.values())
        self.headline = (*(("official", name) for name in official), ("field", "mean_iou"), ("field", "count_accuracy"))

    def groups(self, task: str, source: str) -> tuple[str, ...]:
        return (self.task or task, EVERYTHING)

    def sections(self, group: str) -> dict[str, SampleTable]:
        if group == EVERYTHING:
            return {"field": FieldGroundingTable()}
        corrected = ExactGroundingTable() if group == "tvg" else OneToOneGroundingTable()
        return {"official": ReleasedGroundingTable(group), "corrected": corrected}

    def add(self, tables: Tables, position: int, sample: BenchmarkSample, answer: Answer, reading: Reading) -> None:
        for group in self.groups(sample.task, sample.source):
            for table in tables[group].values():
                table.update(position, reading.segments or (), sample.targets)


class SentenceGroundingRule(Rule):
    """One sentence, one moment: what the field reports; there is no one published script."""

    name = "sentence_grounding"
    official_source = None
    headline = (("field", "recall@1@0.5"), ("field", "recall@1@0.7"), ("field", "mean_iou@1"))

    def groups(self, task: str, source: str) -> tuple[str, ...]:
        return (EVERYTHING,)

    def sections(self, group: str) -> dict[str, SampleTable]:
        return {"field": FieldGroundingTable()}

    def add(self, tables: Tables, position: int, sample: BenchmarkSample, answer: Answer, reading: Reading) -> None:
        tables[EVERYTHING]["field"].update(position, reading.segments or (), sample.targets)


class MomentRetrievalRule(Rule):
    """Moments and highlights of QVHighlights."""

    name = "moment_retrieval"
    official_source = "jayleicn/moment_detr, standalone_eval/eval.py, with the additions of pangzss/MeCo, tools"
    headline = (
        ("official", "MR-full-R1@0.5"),
        ("official", "MR-full-R1@0.7"),
        ("official", "MR-full-mAP"),
        ("official", "HL-min-VeryGood-mAP"),
        ("official", "HL-min-VeryGood-Hit1"),
    )

    def groups(self, task: str, source: str) -> tuple[str, ...]:
        return ("moments", "highlights")

    def sections(self, group: str) -> dict[str, SampleTable]:
        if group == "highlights":
            return {"official": HighlightTable(), "corrected": CorrectedHighlightTable()}
        return {
            "official": MomentRetrievalTable(),
            "corrected": CorrectedMomentRetrievalTable(),
            "field": FieldGroundingTable(),
        }

    def add(self, tables: Tables, position: int, sample: BenchmarkSample, answer: Answer, reading: Reading) -> None:
        segments = reading.segments or ()
        given = answer.windows or (windows_of(segments, sample.duration_s) if segments else ())
        # The published stand-in, the whole video, is for a text that names no window. Nothing stands in for no text.
        has_text = answer.windows is None and answer.fault in TEXTS
        windows = windows_of((), sample.duration_s) if has_text and not given else given
        tables["moments"]["official"].update(position, windows, sample.targets)
        tables["moments"]["corrected"].update(position, given, sample.targets)
        tables["moments"]["field"].update(position, segments, sample.targets)
        if "relevant_clip_ids" in sample.annotation:
            saliency = answer.saliency or (saliency_of(windows, sample.duration_s) if windows else ())
            tables["highlights"]["official"].update(position, saliency, sample.annotation)
            derived = answer.saliency or (saliency_of(given, sample.duration_s) if given else ())
            tables["highlights"]["corrected"].update(position, derived, sample.annotation)
