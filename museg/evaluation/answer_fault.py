"""Why a sample has no answer text. Such a sample counts as a failure; it is never left out."""

from enum import Enum


class AnswerFault(str, Enum):
    """The values of `Answer.fault` and of `fault` in a file of predictions."""

    MISSING = "missing"  # the file has nothing for this sample
    NOT_TEXT = "not_text"  # an answer that is null, a number, a list ...
    NOT_WINDOWS = "not_windows"  # scored windows or saliency that are not lists of finite numbers
    EMPTY = "empty"  # a blank answer; extracted by others, it may have been no answer block
    NO_ANSWER_BLOCK = "no_answer_block"  # a raw text without exactly one answer block
    NO_EVENT = "no_event"  # a model that writes events instead of times wrote none, or it is found nowhere
    UNREADABLE_VIDEO = "unreadable_video"  # no decoder reads the clip
    ABSENT_VIDEO = "absent_video"  # the clip is not there
    PROMPT_TOO_LONG = "prompt_too_long"  # no room for an answer
