"""Located segments as the text that a task's own reader understands.

Of the twelve tasks of E.T. Bench the released tools for MeCo run nine: not rar, rvq and eca. Here eca, which asks which
of several ranges fits, is answered by the range that the best segment is closest to, as an unused part of those tools
has it, and rar and rvq, whose answers are no times, in words.
"""

from collections.abc import Callable, Mapping

from museg.dialogue.et_bench_answers import chosen_letter
from museg.evaluation.samples import BenchmarkSample
from museg.meco.answers import (
    captioned,
    captions_text,
    grounded_option_text,
    highlight_time_s,
    moment_text,
    option_text,
    ranges_text,
)
from museg.meco.located import Located, asked_segments
from museg.meco.structure import read_structure, words_of
from museg.metrics.meco_et_bench import closest_range

IN_WORDS = ("rar", "rvq")
"""Tasks that are answered in words."""

Writer = Callable[[BenchmarkSample, str, Located], str]


def answer_text(sample: BenchmarkSample, completion: str, found: Located) -> str:
    """The answer to a sample, of what the model wrote and what was found of it; "" where there is nothing to say."""
    return WRITERS.get(sample.task, _ranges)(sample, completion, found)


def _ranges(sample: BenchmarkSample, completion: str, found: Located) -> str:
    return ranges_text(asked_segments(found.segments, sample.task))


def _moment(sample: BenchmarkSample, completion: str, found: Located) -> str:
    return moment_text(highlight_time_s(found.segments, found.seconds_per_step))


def _captions(sample: BenchmarkSample, completion: str, found: Located) -> str:
    return captions_text(sorted(captioned(found.segments, read_structure(completion))))


def _grounded_option(sample: BenchmarkSample, completion: str, found: Located) -> str:
    words = words_of(completion)
    return grounded_option_text(chosen_letter(words), words, asked_segments(found.segments, sample.task))


def _closest_option(sample: BenchmarkSample, completion: str, found: Located) -> str:
    options = sample.annotation["o"]
    place = closest_range(found.segments[0].segment, options) if found.segments else None
    return option_text(place, options)


def _words(sample: BenchmarkSample, completion: str, found: Located) -> str:
    return words_of(completion)


WRITERS: Mapping[str, Writer] = {
    "vhd": _moment,
    "dvc": _captions,
    "slc": _captions,
    "gvq": _grounded_option,
    "eca": _closest_option,
    **dict.fromkeys(IN_WORDS, _words),
}
"""Task -> how its answer is written; all others ask for ranges."""
