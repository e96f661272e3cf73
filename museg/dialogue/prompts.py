"""Write the prompt of one example in the chat format of Qwen2.5-VL (ChatML with the video inside the user's turn)."""

from dataclasses import dataclass

from museg.dialogue.event_tokens import EVENT_TOKEN, GAP_TOKEN

VISION_START, VISION_END = "<|vision_start|>", "<|vision_end|>"
MARKERS = ("<|", "|>", EVENT_TOKEN, GAP_TOKEN)
"""Begin and end of the chat format's control tokens, and the tokens that divide a video into events and gaps."""
_QUERY_SLOT = "{query}"


@dataclass(frozen=True)
class PromptWording:
    """What a phase says to the model; `{query}` in the user's texts stands for the example's query.

    system: the system turn; empty leaves the turn out.
    before_video, after_video: the user's text on both sides of the video.
    """

    system: str
    before_video: str
    after_video: str

    def __post_init__(self) -> None:
        if _QUERY_SLOT not in self.before_video + self.after_video:
            raise ValueError(
                f"A prompt wording must contain {_QUERY_SLOT} in before_video or after_video, "
                "or the model never sees the query; "
                f"given before_video={self.before_video!r}, after_video={self.after_video!r}"
            )


def render_prompt(wording: PromptWording, query: str) -> tuple[str, str]:
    """The chat text before and after the video's own tokens.

    The first part ends with the vision start mark; the second begins with the vision end mark and ends where the
    assistant's turn begins. The query is made harmless first (`without_markers`).

    Source: chat template of Qwen/Qwen2.5-VL-3B-Instruct (tokenizer_config.json).
    """
    safe_query = without_markers(query)
    system = f"<|im_start|>system\n{wording.system}<|im_end|>\n" if wording.system else ""
    before = f"{system}<|im_start|>user\n{wording.before_video.replace(_QUERY_SLOT, safe_query)}{VISION_START}"
    after = f"{VISION_END}{wording.after_video.replace(_QUERY_SLOT, safe_query)}<|im_end|>\n<|im_start|>assistant\n"
    return before, after


def without_markers(query: str) -> str:
    """`query` with every marker broken apart by a blank, so that no text of a data file can become a control token.

    Breaking instead of deleting: no deletion can splice a new marker together.
    """
    for marker in MARKERS:
        query = query.replace(marker, f"{marker[0]} {marker[1:]}")
    return query
