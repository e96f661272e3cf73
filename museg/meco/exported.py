"""The heads beside an exported model: a file of weights and one that says how they are to be asked.

A folder that training exported is an ordinary Hugging Face folder. What it needs to find segments lies in two further
files, which other software passes over: `alignment_heads.safetensors` and `alignment.json`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from museg.files import share_as_usual, write_whole
from museg.meco.alignment import AlignmentHeads
from museg.meco.localization import LocalizationSettings

WEIGHTS_FILE, FACTS_FILE = "alignment_heads.safetensors", "alignment.json"


@dataclass(frozen=True)
class AlignmentFacts:
    """How the heads were trained, which is how they are to be asked.

    token_layer, frame_layer: whose states they read, counted from the end; -1 is what the final norm reads.
    inclusive_end: as in `museg.meco.structure.span_targets`.
    localization: how rows become segments that go with these targets.
    """

    token_layer: int
    frame_layer: int
    inclusive_end: bool
    localization: LocalizationSettings


@dataclass(frozen=True)
class Alignment:
    """The heads of an exported model, and how they are to be asked."""

    heads: AlignmentHeads
    facts: AlignmentFacts


def save_heads(folder: Path, weights: Mapping[str, Tensor], facts: AlignmentFacts) -> None:
    """Write the heads' weights, named as in their `state_dict`, and the facts into a folder that is there."""
    file = Path(folder) / WEIGHTS_FILE
    save_file({name: weight.detach().cpu().contiguous() for name, weight in weights.items()}, file)
    share_as_usual(file)
    write_whole(Path(folder) / FACTS_FILE, json.dumps(asdict(facts), indent=2) + "\n")


def has_heads(folder: Path) -> bool:
    """Whether a model in that folder has heads beside it."""
    return (Path(folder) / WEIGHTS_FILE).is_file()


def load_heads(folder: Path) -> Alignment:
    """The heads beside an exported model, on the processor and in evaluation mode.

    The model itself is loaded as any other (`museg.policy.loading.load_checkpoint`, or the library). Raises ValueError
    for a folder that lacks one of the two files, or holds something else in them.
    """
    folder = Path(folder)
    for file in (WEIGHTS_FILE, FACTS_FILE):
        if not (folder / file).is_file():
            raise ValueError(f"{folder} has no {file}: it holds no model that method=meco trained, or half of one")
    try:
        weights = load_file(folder / WEIGHTS_FILE)
        heads = AlignmentHeads(len(weights["token_head.0.weight"]))
        heads.load_state_dict(weights | {"log_scale": weights["log_scale"].reshape(1)})  # once it was a number
        found = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        facts = _facts(found)
    except (OSError, SafetensorError, RuntimeError, LookupError, TypeError, AttributeError, ValueError) as error:
        first_line = str(error).partition("\n")[0]
        raise ValueError(f"the heads in {folder} are damaged, or those of something else: {first_line}") from error
    return Alignment(heads.eval(), facts)


def _facts(found: Mapping[str, Any]) -> AlignmentFacts:
    """Facts read from a file. Raises TypeError or ValueError where they are others, or of other kinds."""
    node = found["localization"]
    if not isinstance(node, Mapping):
        raise ValueError(f"localization={node!r} holds no settings")
    for name, value in node.items():
        wanted = {item.name: type(item.default) for item in fields(LocalizationSettings)}.get(name)
        is_number = wanted is float and isinstance(value, (int, float)) and not isinstance(value, bool)
        if not (type(value) is wanted or (is_number and math.isfinite(value))):
            raise ValueError(f"localization.{name}={value!r} is no {wanted and wanted.__name__}")
    layers = {name: found[name] for name in ("token_layer", "frame_layer")}
    if (
        not all(type(layer) is int and layer < 0 for layer in layers.values())
        or type(found["inclusive_end"]) is not bool
    ):
        raise ValueError(f"layers count from the end and inclusive_end is true or false, found {dict(found)}")
    return AlignmentFacts(**layers, inclusive_end=found["inclusive_end"], localization=LocalizationSettings(**node))
