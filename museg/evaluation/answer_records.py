"""The lines of a file of predictions, one for each sample."""

from typing import Any

from museg.evaluation.answer_fault import AnswerFault
from museg.evaluation.samples import BenchmarkSample


def line_of(
    sample: BenchmarkSample, completion: str, num_tokens: int, fault: AnswerFault | None, output: str
) -> dict[str, Any]:
    """The line of a sample: what the model wrote, and `output`, which the benchmark's readers start from."""
    return {
        "id": sample.sample_id,
        "row": sample.row,
        "completion": completion,
        "num_tokens": num_tokens,
        "fault": None if fault is None else fault.value,
        "output": output,
    }


def unanswered(sample: BenchmarkSample, fault: AnswerFault) -> dict[str, Any]:
    """The line of a sample that could not be asked."""
    return line_of(sample, "", 0, fault, "")
