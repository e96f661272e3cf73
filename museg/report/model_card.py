"""The model card of exported weights: what a run folder says about them, as Markdown for people and for the hub.

Whatever a run folder holds is shown as text, never as markup, and paths are named by their last part alone: a card is
made to be published.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from museg.metrics.keys import HELD_OUT_SCORES, MODES, held_out_key
from museg.report.facts import Fact, cold_start_sentence, key_facts
from museg.report.markdown import Markdown, block, render_markdown
from museg.report.run_folder import RunRecord
from museg.report.tolerant import mapping, number, text_of

PUBLISHED_BASE = re.compile(r"Qwen/Qwen2\.5-VL-[\w.-]+")
BASE_LICENCES = {"3B": "Qwen RESEARCH LICENSE AGREEMENT", "7B": "Apache-2.0"}
"""Size in the name of a published base model -> its licence as its page on the hub names it."""
UNTOLD = ("Method", "Phases", "Cold start", "Data", "Model", "Steps", "Duration", "Versions")
"""Key facts of a report that a card tells in its own words, or not at all."""


@dataclass(frozen=True)
class HeadsBeside:
    """Heads that lie beside the model: their files, and the tokens whose times they find."""

    weights_file: str
    facts_file: str
    event_token: str
    transition_token: str


@dataclass(frozen=True)
class Exported:
    """What the export itself knows: the finished steps of the weights, their type, versions by package, the terms
    (what, licence, where it is from) of the data they saw, and the heads beside the model, if it has any."""

    step: int
    dtype: str
    versions: Mapping[str, str | None]
    terms: Sequence[tuple[str, str, str]]
    heads: HeadsBeside | None = None


@dataclass(frozen=True)
class PhaseRow:
    """One phase as it was planned: how many steps, in which wording, without which terms of the reward."""

    name: str
    steps: str
    wording: str
    rewards_off: str


@dataclass(frozen=True)
class HeldOut:
    """The last look at the held-out clips up to the exported step: rows are (label, meaning, value by mode)."""

    step: int
    modes: tuple[str, ...]
    rows: tuple[tuple[Markdown, tuple[Markdown, ...]], ...]


def model_card(run: RunRecord, exported: Exported) -> str:
    """The card as Markdown, with the metadata block that the hub reads at its top."""
    config = run.config
    base = text_of(mapping(config.get("model")).get("path"))
    return render_markdown(
        "model_card.md",
        metadata=Markdown(yaml.safe_dump(_metadata(base, exported.heads), sort_keys=False)),
        name=text_of(config.get("name")) or "model",
        exported=exported,
        is_supervised=text_of(mapping(config.get("method")).get("_target_")).endswith(".SftModule"),
        total_steps=number(mapping(config.get("phase")).get("total_steps")),
        base=last_part(base) if base else "",
        base_licence=base_licence(base),
        facts=recipe(run),
        phases=phases(config),
        cold_start=cold_start_sentence(run),
        wording=_evaluation_wording(config),
        data=data_facts(config),
        budget=[Fact(str(name), text_of(value)) for name, value in _budget(config).items()],
        held_out=held_out(run, exported.step),
        num_held_out=number(mapping(config.get("validation")).get("num_examples")),
        run_versions=_versions(mapping((run.summary or {}).get("versions"))),
        versions=_versions(exported.versions),
    )


def _metadata(base: str, heads: HeadsBeside | None) -> dict[str, Any]:
    found: dict[str, Any] = {"library_name": "transformers", "pipeline_tag": "video-text-to-text"}
    if PUBLISHED_BASE.fullmatch(base):
        found["base_model"] = base
    method = ["meco"] if heads else ["reinforcement-learning", "grpo"]
    return found | {"tags": ["temporal-grounding", *method, "museg"]}


def base_licence(base: str) -> str:
    """What the hub names as the licence of a published base model; empty where that is not known."""
    size = re.search(r"-(\d+B)-", base)
    return BASE_LICENCES.get(size[1], "") if PUBLISHED_BASE.fullmatch(base) and size else ""


def last_part(path: str) -> str:
    """A path as it may be published: its last part. A published base model is named in full."""
    return path if PUBLISHED_BASE.fullmatch(path) else path.rstrip("/").rpartition("/")[2]


def recipe(run: RunRecord) -> list[Fact]:
    """Reward, rollouts, optimizer, seed, precision and adapter, as far as the run has them."""
    facts = {fact.label: fact.value for fact in key_facts(run) if fact.label not in UNTOLD}
    facts["Precision"] = text_of(mapping(run.config.get("trainer")).get("precision"))
    lora = mapping(mapping(run.config.get("model")).get("lora"))
    if rank := number(lora.get("rank")):
        facts["Adapter, merged"] = f"LoRA of rank {rank:.0f}, alpha {text_of(lora.get('alpha'))}"
    return [Fact(Markdown(label), value) for label, value in facts.items() if value]


def phases(config: Mapping[str, Any]) -> list[PhaseRow]:
    """The phases in order."""
    planned = mapping(mapping(config.get("phase")).get("phases"))
    return [_phase_row(text_of(name), mapping(phase)) for name, phase in planned.items()]


def _phase_row(name: str, phase: Mapping[str, Any]) -> PhaseRow:
    steps = number(phase.get("num_steps"))
    off = [text_of(term) for term, is_on in mapping(phase.get("rewards")).items() if is_on is False]
    shown = "what the others leave" if steps is None else f"{steps:.0f}"
    return PhaseRow(name, shown, text_of(phase.get("prompt")), ", ".join(off))


def _evaluation_wording(config: Mapping[str, Any]) -> list[tuple[Markdown, Markdown]]:
    """The parts of the wording that the held-out questions were asked in, those that say something."""
    prompt = mapping(config.get("prompt"))
    wording = mapping(mapping(prompt.get("wordings")).get(text_of(prompt.get("evaluation"))))
    parts = {"system": "system turn", "before_video": "before the video", "after_video": "after the video"}
    return [(Markdown(label), block(wording[key])) for key, label in parts.items() if text_of(wording.get(key)).strip()]


def data_facts(config: Mapping[str, Any]) -> list[Fact]:
    """What was learned from: the kind of data set and its settings, files by their names, folders not at all."""
    dataset = mapping(config.get("dataset"))
    kind = text_of(dataset.get("_target_")).rpartition(".")[2]
    told = {key: value for key, value in dataset.items() if key not in ("_target_", "root", "video_root")}
    shown = {text_of(key): last_part(value) if isinstance(value, str) else value for key, value in told.items()}
    return [Fact("kind", kind), *(Fact(key, text_of(value)) for key, value in shown.items() if value is not None)]


def _budget(config: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(mapping(config.get("video")).get("budget"))


def held_out(run: RunRecord, step: int) -> HeldOut | None:
    """The scores of the last look at the held-out clips that is not after `step`; None where there is none."""
    metrics = run.metrics
    rows = [row for row, kind in enumerate(metrics.kind) if kind == "validation" and metrics.step[row] <= step]
    if not rows:
        return None
    last = max(rows, key=lambda row: (metrics.step[row], row))
    modes = tuple(Markdown(mode) for mode in MODES if _value(run, mode, "mean_iou", last) is not None)
    found = []
    for name, key in HELD_OUT_SCORES.items():
        values = [_value(run, mode, name, last) for mode in modes]
        if any(value is not None for value in values):
            label = Markdown(f"{key.label} ({key.unit})" if key.unit else key.label)
            found.append((label, tuple(Markdown("–" if value is None else f"{value:.3f}") for value in values)))
    return HeldOut(int(metrics.step[last]), modes, tuple(found))


def _value(run: RunRecord, mode: str, score: str, row: int) -> float | None:
    column = run.metrics.columns.get(held_out_key(mode, score))
    return None if column is None or column[row] != column[row] else float(column[row])


def _versions(versions: Mapping[str, Any]) -> str:
    return ", ".join(f"{text_of(name)} {text_of(version)}" for name, version in versions.items() if version)
