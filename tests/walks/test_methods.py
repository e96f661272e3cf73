"""Every method, reward, schedule and logger that one override chooses leaves a whole run behind."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from museg.training.checkpoints import complete_checkpoints
from tests.walks import tiny_runs

STEPS = ("phase.steps=2", "phase.total_steps=4", "validation.every_steps=3", "checkpoint.every_steps=2")

PLAIN = ("format", "coverage", "local")
RELEASED = {"timestamp": ("format", "timestamp", "coverage", "local"), "plain": PLAIN}

VARIANTS = {
    "maximum": (("reward=maximum",), RELEASED),
    "global_only": (
        ("reward=global_only",),
        {"timestamp": ("format", "timestamp", "coverage"), "plain": ("format", "coverage")},
    ),
    "sequential_paper": (("reward=sequential_paper",), RELEASED),
    "timestamp_never": (("phase=timestamp_never", "phase.total_steps=4"), {"plain": PLAIN}),
    "without_restart": (("phase.restart=false",), RELEASED),
    "sft": (("method=sft",), {"timestamp": (), "plain": ()}),
    "wandb": (("logger=wandb", "logger.wandb.offline=true"), RELEASED),
    "tensorboard": (("logger=tensorboard",), RELEASED),
}
"""Overrides, and the reward terms that are on in each phase."""

WEIGHTS = {"sequential_paper": {"coverage": 0.5, "local": 0.5}}


@pytest.fixture(scope="module")
def folders(outputs, tmp_path_factory):
    """Variant -> its run folder, trained when first asked for."""
    done: dict[str, Path] = {}

    def folder_of(variant: str) -> Path:
        if variant not in done:
            run_dir = tmp_path_factory.mktemp(variant)
            tiny_runs.train(tiny_runs.settings(outputs, *STEPS, *VARIANTS[variant][0]), run_dir)
            done[variant] = run_dir
        return done[variant]

    return folder_of


@pytest.fixture(params=VARIANTS)
def variant(request) -> str:
    return request.param


def test_the_summary_holds_every_stage_in_order(folders, variant):
    summary = json.loads((folders(variant) / "summary.json").read_text())
    phases = list(VARIANTS[variant][1])
    assert list(summary["held_out"]) == ["cold_start", *phases]
    assert [phase["name"] for phase in summary["phases"]] == phases
    for stage, scores in summary["held_out"].items():
        assert 0 <= scores["mean_iou"] <= 1 and 0 <= scores["sampled"]["mean_iou"] <= 1
        predictions = (folders(variant) / "predictions" / f"{stage}.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in predictions]
        greedy = [record["iou"] for record in records if record["mode"] == "greedy"]
        assert len(records) == 32 and sum(greedy) / 16 == pytest.approx(scores["mean_iou"])


def test_every_step_has_its_rows(folders, variant):
    rows = tiny_runs.rows(folders(variant), "train")
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    phases = list(VARIANTS[variant][1])
    assert [row["phase"] for row in rows] == ([phases[0]] * 2 + [phases[-1]] * 2)
    validated = [0, 3, 4] if len(phases) == 1 else [0, 2, 3, 4]
    assert [int(row["step"]) for row in tiny_runs.rows(folders(variant), "validation")] == validated


def test_the_reward_terms_of_the_phase_are_on(folders, variant):
    weights = WEIGHTS.get(variant, {})
    for row in tiny_runs.rows(folders(variant), "train"):
        terms = VARIANTS[variant][1][row["phase"]]
        measured = {key for key, cell in row.items() if key.startswith("reward/") and cell}
        of_all = {"reward/total", "reward/group_std", "reward/zero_std_share"} if terms else set()
        assert measured == {f"reward/{term}" for term in terms} | of_all
        if terms:
            total = sum(weights.get(term, 1.0) * float(row[f"reward/{term}"]) for term in terms)
            assert float(row["reward/total"]) == pytest.approx(total, abs=1e-6)


def test_the_export_is_an_ordinary_checkpoint(folders, variant):
    exported = folders(variant) / "exported"
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(exported)
    trained = complete_checkpoints(folders(variant))[-1].weights()
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, trained[f"model.{name}"]), name
    text = "red square from 2.0 to 5.0"
    tokenizer = AutoTokenizer.from_pretrained(exported)
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_training_changes_the_weights(folders, variant):
    first, last = (checkpoint.weights() for checkpoint in complete_checkpoints(folders(variant)))
    assert any(not torch.equal(first[name], last[name]) for name in first)


def test_a_restart_begins_anew_and_its_absence_goes_on(folders):
    rates = {}
    for variant in ("maximum", "without_restart"):
        rates[variant] = [float(row["train/learning_rate"]) for row in tiny_runs.rows(folders(variant), "train")]
    # Warm-up over 20 steps: the k-th step of a fit has k twentieths of the peak, unless it decays first.
    assert rates["maximum"][:2] == rates["maximum"][2:]
    assert rates["without_restart"][2] != rates["without_restart"][0]
    assert [path.name for path in (folders("without_restart") / "reference").iterdir()] == ["timestamp_plain"]
    first, second = (
        load_file(folders("maximum") / "reference" / fit / "reference.safetensors") for fit in ("timestamp", "plain")
    )
    assert any(not torch.equal(first[name], second[name]) for name in first)


def rewards_of(run_dir: Path) -> dict[int, float]:
    return {int(row["step"]): float(row["reward/total"]) for row in tiny_runs.rows(run_dir, "train")}


def mean_ious_of(run_dir: Path) -> dict[int, float]:
    rows = tiny_runs.rows(run_dir, "validation")
    return {int(row["step"]): float(row["held_out/greedy/mean_iou"]) for row in rows}


def test_tensorboard_events_stand_at_our_steps(folders):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir = folders("tensorboard")
    events = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    columns = set(tiny_runs.rows(run_dir)[0])
    assert set(events.Tags()["scalars"]) - {"hp_metric"} <= columns
    logged = {event.step: event.value for event in events.Scalars("reward/total")}
    assert logged == pytest.approx(rewards_of(run_dir))
    logged = {event.step: event.value for event in events.Scalars("held_out/greedy/mean_iou")}
    assert logged == pytest.approx(mean_ious_of(run_dir))
