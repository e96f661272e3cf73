"""In which way a checkpoint is asked: times are written, or events are, and heads beside the model find their times."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from museg.dialogue.prompts import PromptWording
from museg.evaluation.answering import Asking
from museg.evaluation.located_answers import LocatedAnswers, StructureWordings, TaskQuestion
from museg.evaluation.written_answers import WrittenAnswers
from museg.meco.exported import has_heads, load_heads

Settings = Mapping[str, Any]

WRITTEN, LOCATED = "written", "located"


def chosen_asking(settings: Settings, folder: Path) -> Asking:
    """The way that the settings ask for, or that suits the checkpoint in `folder`.

    Raises ValueError for located answers of a checkpoint without heads, and for settings of theirs with written ones.
    """
    node, inference = settings["benchmark"], settings["inference"]
    own = _given(inference["localization"])
    if inference["answers"] == LOCATED or (inference["answers"] != WRITTEN and has_heads(folder)):
        alignment = load_heads(folder)
        changes = _given(node["structure"]["localization"]) | own
        localization = replace(alignment.facts.localization, **changes)
        return LocatedAnswers(_wordings(node["structure"]), alignment, localization)
    if own:
        raise ValueError(
            f"inference.localization.{next(iter(own))} is for answers that heads locate, but here times are written: "
            "leave it null, or give a checkpoint that method=meco trained"
        )
    return WrittenAnswers(PromptWording(**node["prompt"]["wordings"][node["prompt"]["evaluation"]]))


def _wordings(node: Settings) -> StructureWordings:
    prompt = node["prompt"]
    return StructureWordings(
        wordings={name: PromptWording(**wording) for name, wording in prompt["wordings"].items()},
        usual=prompt["evaluation"],
        questions={task: TaskQuestion(**question) for task, question in node["questions"].items()},
    )


def _given(node: Settings) -> dict[str, Any]:
    """The settings that are not left as they are."""
    return {name: value for name, value in node.items() if value is not None}
