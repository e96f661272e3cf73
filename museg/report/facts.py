"""What can be said about a run in words: phases, stages, outcome, key facts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from museg.report.metrics_table import COLD_START
from museg.report.run_folder import RunRecord
from museg.report.tolerant import clip, listed, mapping, number, text_of

PHASE_FALLBACK = "training"


@dataclass(frozen=True)
class PhaseSpan:
    """A phase of the run, in finished steps: from `start_step` to `end_step`."""

    name: str
    start_step: float
    end_step: float


@dataclass(frozen=True)
class Fact:
    """One line of the list of key facts."""

    label: str
    value: str


@dataclass(frozen=True)
class Headline:
    """A before/after number for the top of the page."""

    label: str
    before: float | None
    after: float


def stage_title(name: str) -> str:
    """A stage's name as people read it."""
    return name.replace("_", " ")


def phase_spans(run: RunRecord) -> list[PhaseSpan]:
    """The phases as the summary states them; without it, as the rows of the run log show them."""
    spans = []
    for phase in listed((run.summary or {}).get("phases")):
        start, end = number(mapping(phase).get("start_step")), number(mapping(phase).get("end_step"))
        if start is not None and end is not None and end > start:
            spans.append(PhaseSpan(text_of(mapping(phase).get("name")), start, end))
    return spans or _spans_in_log(run)


def _spans_in_log(run: RunRecord) -> list[PhaseSpan]:
    spans: dict[str, PhaseSpan] = {}
    for step, phase, kind in zip(run.metrics.step, run.metrics.phase, run.metrics.kind, strict=True):
        if kind != "train" or np.isnan(step):
            continue
        name = phase or PHASE_FALLBACK
        known = spans.get(name, PhaseSpan(name, step - 1, step))
        spans[name] = PhaseSpan(name, min(known.start_step, step - 1), max(known.end_step, step))
    return sorted(spans.values(), key=lambda span: span.start_step)


def steps_done(run: RunRecord) -> int:
    """Training steps in the run log, the cold start's not counted."""
    steps = run.metrics.step[np.array([kind == "train" for kind in run.metrics.kind], dtype=bool)]
    return len(np.unique(steps[~np.isnan(steps)]))


def unfinished_because(run: RunRecord) -> str | None:
    """Why this run does not count as finished, or None when it does."""
    if run.summary is None:
        return "summary.json is missing: the run is still going, was stopped, or ended in an error"
    spans = phase_spans(run)
    planned = int(spans[-1].end_step) if spans else 0
    if 0 < steps_done(run) < planned:
        return f"the run log holds {steps_done(run)} of {planned} steps"
    scored = run.held_out
    missing = [stage_title(span.name) for span in spans if scored and span.name not in scored]
    return f"held-out scores are missing for {', '.join(missing)}" if missing else None


def stages(run: RunRecord) -> list[str]:
    """Names of the stages with held-out results, in the order of the run."""
    in_summary = list(run.held_out)
    in_order = [*in_summary, COLD_START, *(span.name for span in phase_spans(run)), *run.predictions]
    known = {*in_summary, *run.predictions}
    return [name for name in dict.fromkeys(in_order) if name in known]


def headlines(run: RunRecord) -> list[Headline]:
    """Held-out numbers of the first and last stage; from summary.json alone."""
    scores = run.held_out
    names = list(scores)
    found = []
    wanted = {
        "sampled mIoU": ("sampled", "mean_iou"),
        "greedy mIoU": ("greedy", "mean_iou"),
        "greedy F1@0.5": ("greedy", "f1@0.5"),
        "timestamps cited": ("greedy", "timestamps_cited_share"),
    }
    for label, (mode, score) in wanted.items():
        values = [number(mapping(mapping(scores[name]).get(mode)).get(score)) for name in names]
        if values and values[-1] is not None:
            found.append(Headline(label, values[0] if len(values) > 1 else None, values[-1]))
    return found


def signed(value: float, decimals: int = 3) -> str:
    """A difference with its sign; one that rounds to nothing counts as +0."""
    return f"{round(value, decimals) + 0.0:+.{decimals}f}".replace("-", "−")


def outcome(run: RunRecord) -> str:
    """The run's result in one sentence; every number in it comes from summary.json."""
    found = [headline for headline in headlines(run) if headline.label in ("sampled mIoU", "greedy mIoU")]
    if not found:
        return "No held-out result yet: summary.json has no held-out scores to compare."
    steps = [number(mapping(phase).get("end_step")) for phase in listed((run.summary or {}).get("phases"))]
    over = f" over {int(steps[-1])} steps" if steps and steps[-1] else ""
    return f"On held-out clips: {', '.join(map(_clause, found))}{over}."


def _clause(headline: Headline) -> str:
    if headline.before is None:
        return f"{headline.label} {headline.after:.3f}"
    change = signed(headline.after - headline.before)
    return f"{headline.label} {headline.before:.3f} → {headline.after:.3f} ({change})"


def key_facts(run: RunRecord) -> list[Fact]:
    """What was run, where and for how long; facts nobody recorded are left out."""
    config, summary = run.config, run.summary or {}
    spans = phase_spans(run)
    facts = {
        "Method": _target(config.get("method")),
        "Model": text_of(mapping(config.get("model")).get("path")) or _target(config.get("model")),
        "Data": _target(config.get("dataset")),
        "Reward": _reward(mapping(config.get("reward"))),
        "Phases": " → ".join(f"{stage_title(s.name)} ({s.end_step - s.start_step:.0f} steps)" for s in spans),
        "Cold start": cold_start_sentence(run),
        "Rollouts": _rollouts(config),
        "Optimizer": _optimizer(config),
        "Steps": f"{steps_done(run)} in the run log" if steps_done(run) else "",
        "Seed": text_of(summary.get("seed", config.get("seed"))),
        "Duration": _durations(mapping(summary.get("timings_s"))),
        "Versions": ", ".join(f"{name} {text_of(v)}" for name, v in mapping(summary.get("versions")).items() if v),
    }
    return [Fact(label, text_of(clip(value, 600))) for label, value in facts.items() if value]


def cold_start_sentence(run: RunRecord) -> str:
    """Where the supervised cold start stopped, and why; empty without one."""
    cold_start = mapping((run.summary or {}).get("cold_start"))
    steps, reason = number(cold_start.get("steps")), text_of(cold_start.get("stopped_because"))
    if steps is None:
        return reason
    return f"{steps:.0f} supervised steps" + (f", stopped because {stage_title(reason)}" if reason else "")


def duration(seconds: float) -> str:
    """A duration as people say it."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def _durations(timings_s: Mapping[str, Any]) -> str:
    seconds = {stage_title(name).removesuffix(" s"): number(value) for name, value in timings_s.items()}
    return " · ".join(f"{name} {duration(value)}" for name, value in seconds.items() if value is not None)


def _target(value: Any) -> str:
    return text_of(mapping(value).get("_target_")).rpartition(".")[2]


def _reward(reward: Mapping[str, Any]) -> str:
    weights = mapping(reward.get("weights"))
    terms = mapping(reward.get("terms"))
    return " + ".join(f"{text_of(weights[term])} × {term}" if term in weights else str(term) for term in terms)


def _rollouts(config: Mapping[str, Any]) -> str:
    rollout = mapping(config.get("rollout"))
    prompts, group = number(config.get("prompts_per_step")), number(rollout.get("num_generations"))
    if prompts is None or group is None:
        return ""
    temperature = number(rollout.get("temperature"))
    return f"{prompts:.0f} prompts × {group:.0f} per step" + (f", temperature {temperature:g}" if temperature else "")


def _optimizer(config: Mapping[str, Any]) -> str:
    learning_rate = number(mapping(config.get("optimizer")).get("lr"))
    beta = number(mapping(config.get("objective")).get("beta"))
    stated = {"learning rate": learning_rate, "KL weight": beta}
    return ", ".join(f"{name} {value:g}" for name, value in stated.items() if value is not None)
