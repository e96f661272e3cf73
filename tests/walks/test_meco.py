"""Runs of method=meco in stages: killed and resumed, exported, loaded by others, and continued by another method."""

import json
import os
import signal
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from museg.config.exporting import Asked, export_run
from museg.config.job import build_job
from museg.meco.exported import FACTS_FILE, WEIGHTS_FILE, load_heads
from museg.meco.structure import Kind
from museg.meco.tokens import add_structural_tokens
from museg.policy.loading import load_checkpoint
from museg.policy.processing import build_prompt_batch
from museg.policy.rollout import RolloutSettings, greedy_rollouts
from museg.policy.row_training import embedding_weights
from museg.policy.tiny import build_tiny
from museg.training.checkpoints import complete_checkpoints
from museg.training.learner import Learner
from museg.training.run_clips import clip_loader, held_out_set
from tests.policy.drawn_clips import WORDING, drawn_clip
from tests.walks import tiny_runs
from tests.walks.test_resume import train_until_step

STAGES = (  # of 2 steps, 1 step and 3; the heads learn in the first, hold still in the second, and go on in the last
    "phase.phases.alignment.num_steps=2",
    "phase.phases.alignment.trains.heads=true",
    "phase.phases.instruction.num_steps=1",
    "phase.total_steps=6",
    *(f"phase.phases.{name}.prompts_per_step=null" for name in ("instruction", "time_sensitive")),
    "phase.phases.alignment.prompts_per_step=3",
    *(f"phase.phases.{name}.lr=1e-3" for name in ("alignment", "instruction", "time_sensitive")),
)
MECO = (
    *("method=meco", "prompt=meco_tiny", "phase=meco", "dataset.order=by_phase", "cold_start=none"),
    *(*STAGES, "checkpoint.every_steps=2", "validation.every_steps=5", "optimizer.warmup_steps=0"),
)
ROWS = "phase.phases.time_sensitive.trains.embeddings=new_rows"


@pytest.fixture(scope="module", params=["all", "adapter"])
def overrides(request) -> tuple[str, ...]:
    """A run that trains the decoder, and one that trains an adapter and the new tokens' rows under weight decay."""
    return MECO if request.param == "all" else (*MECO, "model.lora.rank=4", ROWS, "optimizer.weight_decay=0.1")


@pytest.fixture(scope="module")
def straight(overrides, outputs, tmp_path_factory) -> Path:
    """The run that nothing happens to."""
    run_dir = tmp_path_factory.mktemp("straight") / "run"
    tiny_runs.train(tiny_runs.settings(outputs, *overrides), run_dir)
    return run_dir


def exported(run_dir: Path) -> dict[str, torch.Tensor]:
    """All weights that a run leaves behind."""
    folder = run_dir / "exported"
    heads = {f"heads.{name}": weight for name, weight in load_file(folder / WEIGHTS_FILE).items()}
    return load_file(folder / "model.safetensors") | heads


@pytest.mark.parametrize("step", [3, 5])
def test_a_killed_run_resumes_exactly(step, overrides, straight, outputs, tmp_path):
    """From where a stage begins that leaves alone the heads trained before it, and from inside one that trains them."""
    run_dir = tmp_path / "killed"
    fresh = tiny_runs.settings(outputs, *overrides)
    assert tiny_runs.exit_code_of(train_until_step, fresh, run_dir, step) == -signal.SIGKILL
    resumed = tiny_runs.settings(outputs, *overrides, "resume=auto")
    assert tiny_runs.exit_code_of(tiny_runs.train, resumed, run_dir) == 0
    ours, theirs = exported(run_dir), exported(straight)
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)
    assert tiny_runs.without_timings(run_dir) == tiny_runs.without_timings(straight)


def test_stages_train_what_they_name(straight):
    rows = tiny_runs.rows(straight, "train")
    assert [row["phase"] for row in rows] == ["alignment"] * 2 + ["instruction"] + ["time_sensitive"] * 3
    assert [float(row["data/num_prompts"]) for row in rows] == [3, 3, 4, 4, 4, 4]
    scales = [row["structure/scale"] for row in rows]  # logged before each update
    assert [before != after for before, after in pairwise(scales)] == [True, True, False, True, True]
    for row in rows:
        total, text, structure = (float(row[f"loss/{name}"]) for name in ("total", "text", "structure"))
        assert structure > 0
        # where the heads hold still nothing is learnt from what they find
        assert total == pytest.approx(text if row["phase"] == "instruction" else text + structure, rel=1e-5)


def test_of_the_embeddings_new_rows_alone_moved_where_that_was_asked(straight, overrides):
    policy = build_tiny(seed=0)
    add_structural_tokens(policy.tokenizer, policy.model)
    (before,) = (weight.detach() for weight in embedding_weights(policy.model))
    exported_model = Qwen2_5_VLForConditionalGeneration.from_pretrained(straight / "exported")
    moved = (before != exported_model.get_input_embeddings().weight).any(dim=1)
    assert moved[-2:].all()
    assert moved[:-2].any() == (ROWS not in overrides)


def test_the_export_holds_tokens_rows_and_heads(straight):
    folder = straight / "exported"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), Qwen2_5_VLForConditionalGeneration.from_pretrained(folder)
    ids = [tokenizer.convert_tokens_to_ids(kind.value) for kind in Kind]
    assert tokenizer("red square<ent>\n<tst>").input_ids[-1] == ids[1]
    weights = complete_checkpoints(straight)[-1].weights()
    name = "model.model.language_model.embed_tokens.weight"
    assert torch.equal(model.get_input_embeddings().weight[ids], weights[name][ids])
    alignment = load_heads(folder)
    for name, weight in alignment.heads.state_dict().items():
        assert torch.equal(weight, weights[f"heads.{name}"]), name
    facts = json.loads((folder / FACTS_FILE).read_text())
    assert (facts["token_layer"], facts["inclusive_end"], facts["localization"]["threshold"]) == (-2, True, 0.7)


def test_the_export_of_a_checkpoint_is_that_of_the_run(straight, tmp_path):
    export_run(Asked(straight, tmp_path / "again"))
    again = load_file(tmp_path / "again" / "model.safetensors")
    for name, weight in load_file(straight / "exported" / "model.safetensors").items():
        torch.testing.assert_close(again[name], weight, rtol=0, atol=0)
    card = (tmp_path / "again" / "README.md").read_text()
    assert all(f"`{told}`" in card for told in (WEIGHTS_FILE, FACTS_FILE, "<ent>", "<tst>"))
    assert "from museg.meco.exported import load_heads" in card
    heads = load_file(tmp_path / "again" / WEIGHTS_FILE)
    assert all(heads[name].equal(weight) for name, weight in load_file(straight / "exported" / WEIGHTS_FILE).items())


def test_answers_survive_the_export(straight, outputs, overrides):
    """The last predictions of the run, and those of the exported folder, word by word."""
    lines = (straight / "predictions" / "time_sensitive.jsonl").read_text().splitlines()
    said = {row["example_id"]: row for row in map(json.loads, lines) if row["mode"] == "greedy"}
    folder = straight / "exported"
    path = ("model=qwen2_5_vl_3b", f"model.path={folder}", f"method.start_heads={folder}", "model.lora.rank=0")
    job = build_job(tiny_runs.settings(outputs, *overrides, *path))
    learner, data = Learner(job, straight), job.make_data()
    learner.prepare()
    with clip_loader(job, straight, data, last_step=job.schedule.total_steps) as clips:
        held_out = held_out_set(job, data, clips)
    module = job.module_class(learner.policy, job, heads=learner.beside, **job.module_options)
    again = held_out.evaluate(learner.policy, ("greedy",), reader=module.reader).predictions
    assert len(again) == len(said) == 16
    for row in again:
        then = said[row["example_id"]]
        assert row["text"] == then["text"]
        assert [tuple(segment) for segment in then["segments"]] == list(row["segments"])


def test_another_method_goes_on_from_the_export(straight, outputs, tmp_path):
    path = ("model=qwen2_5_vl_3b", f"model.path={straight / 'exported'}", "model.gradient_checkpointing=false")
    steps = ("phase.steps=1", "phase.total_steps=2", "cold_start=none")
    run_dir = tmp_path / "run"
    tiny_runs.train(tiny_runs.settings(outputs, *path, *steps), run_dir)
    policy = load_checkpoint(str(run_dir / "exported"))
    assert policy.tokenizer.convert_tokens_to_ids("<ent>") not in policy.ids.banned_ids
    assert not (run_dir / "exported" / WEIGHTS_FILE).exists()  # reinforcement has moved what the heads had read
    prompts = build_prompt_batch(policy, [drawn_clip(0)], WORDING, max_context_tokens=4096)
    assert greedy_rollouts(policy, prompts, RolloutSettings(num_generations=1, max_new_tokens=4)).texts[0] is not None
    assert os.path.isfile(run_dir / "exported" / "model.safetensors")
