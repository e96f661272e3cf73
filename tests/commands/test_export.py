"""A run's checkpoints as folders that other software loads: in another process, without this package."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from museg.commands.export import main, understood
from museg.config.answer import load_for_inference
from museg.config.exporting import CARD_FILE, write_own_card
from museg.config.job import build_job
from museg.dialogue.prompts import render_prompt
from museg.policy.rollout import RolloutSettings, greedy_rollouts
from museg.targets import build
from museg.training.checkpoints import complete_checkpoints
from tests.policy.drawn_clips import WORDING, drawn_batch
from tests.walks import tiny_runs

NEW_TOKENS = 12
# Supervised, because random weights earn no reward to learn from; fast, so that checkpoints answer differently.
SMALL = (
    *("method=sft", "cold_start=none", "optimizer.lr=0.003", "validation.num_examples=4", "rollout.max_new_tokens=8"),
    "model.initializer_range=0.1",
)
PROMPTS = {"short": 2, "long": 16}
"""Frames of a prompt's video: the library's own positions are ours after the first, and others after the second."""


@pytest.fixture(scope="module")
def run_dir(outputs, tmp_path_factory):
    """A finished run with checkpoints after steps 2 and 4; its random weights answer every question in another way."""
    run_dir = tmp_path_factory.mktemp("run")
    steps = ("phase.steps=2", "phase.total_steps=4", "checkpoint.every_steps=2", "checkpoint.keep=2")
    tiny_runs.train(tiny_runs.settings(outputs, *steps, *SMALL), run_dir)
    return run_dir


@pytest.fixture(scope="module")
def folder(run_dir, tmp_path_factory):
    """The checkpoint after step 2, exported by the command."""
    folder = tmp_path_factory.mktemp("export") / "model"
    assert main([f"run={run_dir}", f"output={folder}", "step=2"]) == 0
    return folder


def policy_of(run_dir, step):
    """The policy as the run had it, without the command."""
    policy = build(yaml.safe_load((run_dir / "config.yaml").read_text())["model"])
    (checkpoint,) = [found for found in complete_checkpoints(run_dir) if found.global_step == step]
    weights = torch.load(checkpoint.state_file, weights_only=True)["state_dict"]
    policy.model.load_state_dict({name.removeprefix("model."): weight for name, weight in weights.items()})
    return policy


def written_by(policy, batch):
    """Greedy completions as lists of ids, up to their ends."""
    rollouts = greedy_rollouts(policy, batch, RolloutSettings(max_new_tokens=NEW_TOKENS))
    rows = zip(rollouts.completion_ids, rollouts.completion_mask, strict=True)
    return [ids[mask].tolist() for ids, mask in rows]


# What a reader of the card does: load, and generate with the function that stands there.
READER = """
import json, sys
from pathlib import Path
from safetensors.torch import load_file
from transformers import Qwen2_5_VLForConditionalGeneration

FOLDER, *files = sys.argv[1:]
card = (Path(FOLDER) / "README.md").read_text()
load, positions, generate = [part.split("```")[0] for part in card.split("```python")[1:]]
exec(load)
exec(positions)
same = Qwen2_5_VLForConditionalGeneration.from_pretrained(FOLDER).state_dict()
found = {
    "class": type(model).__name__,
    "same": all(weight.equal(same[name]) for name, weight in model.state_dict().items()),
    "museg": [name for name in sys.modules if name.startswith("museg")],
}
for file in files:
    inputs = load_file(file)
    exec(generate.replace("512", str(NEW_TOKENS)))
    plain = model.generate(**inputs, max_new_tokens=NEW_TOKENS)
    start = inputs["input_ids"].shape[1]
    found[file] = {"by the card": written[:, start:].tolist(), "plainly": plain[:, start:].tolist()}
print(json.dumps(found))
""".replace("NEW_TOKENS", str(NEW_TOKENS))


def read_elsewhere(folder, batches, tmp_path):
    """What another process, in another place, makes of the folder and the tensors of batches."""
    video_id = load_config(folder)["video_token_id"]
    for name, batch in batches.items():
        inputs = {
            "input_ids": batch.input_ids,
            "attention_mask": batch.attention_mask,
            "pixel_values_videos": batch.pixel_values,
            "video_grid_thw": batch.grid_thw,
            "second_per_grid_ts": batch.second_per_grid_ts,
            "mm_token_type_ids": 2 * batch.input_ids.eq(video_id).int(),
        }
        save_file({key: tensor.contiguous() for key, tensor in inputs.items()}, tmp_path / name)
    (tmp_path / "reader.py").write_text(READER)
    command = [sys.executable, "reader.py", str(folder), *batches]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def load_config(folder):
    return json.loads((folder / "config.json").read_text())


def up_to_end(ids, stop_ids):
    """A row of `generate`, which goes on with padding."""
    ends = [place for place, token in enumerate(ids) if token in stop_ids]
    return ids[: ends[0] + 1] if ends else ids


def test_another_process_gives_the_answers_of_before(run_dir, folder, tmp_path):
    """Of long videos by the positions of the card; of short ones the library's own are the same."""
    policy = policy_of(run_dir, step=2)
    batches = {name: drawn_batch(policy, 3, num_frames=num_frames) for name, num_frames in PROMPTS.items()}
    found = read_elsewhere(folder, batches, tmp_path)
    assert found["museg"] == [] and found["same"] and found["class"] == "Qwen2_5_VLForConditionalGeneration"
    answers = {name: written_by(policy, batch) for name, batch in batches.items()}

    def elsewhere(name, how):
        return [up_to_end(ids, policy.ids.stop_ids) for ids in found[name][how]]

    assert elsewhere("long", "by the card") == answers["long"]
    assert elsewhere("short", "by the card") == elsewhere("short", "plainly") == answers["short"]
    assert len({tuple(answer) for answer in answers["long"]}) > 1  # they depend on the question
    assert written_by(policy_of(run_dir, step=4), batches["long"]) != answers["long"]  # and on the step


def test_the_chat_template_writes_our_prompts(run_dir, folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    content = [{"type": "text", "text": "cite red square"}, {"type": "video"}]
    messages = [{"role": "user", "content": content}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    before, after = render_prompt(WORDING, "red square")
    assert text == f"{before}<|video_pad|>{after}"


def test_the_newest_step_is_what_the_run_itself_exported(run_dir, tmp_path):
    assert main([f"run={run_dir}", f"output={tmp_path / 'model'}"]) == 0
    own, newest = (load_file(f / "model.safetensors") for f in (run_dir / "exported", tmp_path / "model"))
    assert own.keys() == newest.keys() and all(own[name].equal(newest[name]) for name in own)
    names = {file.name for file in (tmp_path / "model").iterdir()}
    assert names - {CARD_FILE} == {file.name for file in (run_dir / "exported").iterdir()} - {CARD_FILE}
    assert {"video_preprocessor_config.json", "preprocessor_config.json", "chat_template.jinja"} <= names
    assert "began with random weights, after 4 of 4 steps" in (tmp_path / "model" / CARD_FILE).read_text()


def test_this_package_evaluates_and_trains_on_the_folder(folder, run_dir, outputs, tmp_path):
    policy = policy_of(run_dir, step=2)
    batch = drawn_batch(policy, 2)
    evaluated = load_for_inference(str(folder), torch.device("cpu"), dtype="float32", attention="sdpa")
    assert written_by(evaluated, batch) == written_by(policy, batch)
    settings = tiny_runs.settings(outputs, "cold_start=none", "model=qwen2_5_vl_3b", f"model.path={folder}")
    assert written_by(build_job(settings).make_policy(), batch) == written_by(policy, batch)


def test_a_run_that_goes_on_and_a_checkpoint_kept_elsewhere(run_dir, folder, tmp_path):
    """Neither summary nor own export is there; of the checkpoints one was copied before it was removed."""
    running = tmp_path / "running"
    shutil.copytree(run_dir, running, ignore=shutil.ignore_patterns("summary.json", "exported", "step_000002"))
    kept = shutil.copytree(run_dir / "checkpoints" / "step_000002", tmp_path / "kept" / "step_000002")
    assert main([f"run={running}", f"output={tmp_path / 'model'}", f"checkpoint={kept}"]) == 0
    there, wanted = (load_file(f / "model.safetensors") for f in (tmp_path / "model", folder))
    assert all(there[name].equal(wanted[name]) for name in wanted)
    assert "began with random weights, after 2 of 4 steps" in (tmp_path / "model" / CARD_FILE).read_text()


@pytest.fixture(scope="module")
def adapter_run_dir(outputs, tmp_path_factory):
    """A run that trained an adapter, with products in bfloat16; its checkpoints hold the adapter alone, in float32."""
    run_dir = tmp_path_factory.mktemp("adapter")
    steps = ("phase.steps=1", "phase.total_steps=2", "model.lora.rank=4", "trainer.precision=bf16-mixed")
    tiny_runs.train(tiny_runs.settings(outputs, *steps, *SMALL), run_dir)
    return run_dir


def test_an_adapter_is_merged(adapter_run_dir, tmp_path, capsys):
    assert main([f"run={adapter_run_dir}", f"output={tmp_path / 'model'}"]) == 0
    own, ours = (load_file(f / "model.safetensors") for f in (adapter_run_dir / "exported", tmp_path / "model"))
    assert own.keys() == ours.keys() and not any("lora" in name for name in ours)
    assert all(torch.equal(own[name], ours[name]) for name in own)
    assert {weight.dtype for weight in ours.values()} == {torch.float32}  # not rounded to what products were made in
    began = build(yaml.safe_load((adapter_run_dir / "config.yaml").read_text())["model"]).model.state_dict()
    assert not ours["model.layers.0.self_attn.q_proj.weight"].equal(
        began["model.language_model.layers.0.self_attn.q_proj.weight"]
    )
    assert "| Adapter, merged | `LoRA of rank 4, alpha" in (tmp_path / "model" / CARD_FILE).read_text()


def test_an_adapter_of_another_model_is_refused(adapter_run_dir, tmp_path, capsys):
    copied = with_settings(adapter_run_dir, tmp_path, lambda config: config["model"].update(seed=5))
    message = refusal(capsys, f"run={copied}", f"output={tmp_path / 'model'}")
    assert "adapter was trained on another model" in message


class Owned:
    """What a hostile checkpoint would run."""

    def __reduce__(self):
        return (Path.touch, (Path("owned"),))


def test_a_checkpoint_of_deepspeed_is_read(run_dir, folder, tmp_path):
    """As ZeRO-2 writes it: a folder, with the whole weights in one file."""
    copied = shutil.copytree(run_dir, tmp_path / "run")
    state = copied / "checkpoints" / "step_000002" / "state.ckpt"
    weights = torch.load(state, weights_only=True)["state_dict"]
    state.unlink()
    (state / "checkpoint").mkdir(parents=True)
    torch.save({"module": weights, "global_steps": 2}, state / "checkpoint" / "mp_rank_00_model_states.pt")
    assert main([f"run={copied}", f"output={tmp_path / 'model'}", "step=2"]) == 0
    there, wanted = (load_file(f / "model.safetensors") for f in (tmp_path / "model", folder))
    assert all(there[name].equal(wanted[name]) for name in wanted)


def test_code_in_a_checkpoint_of_zero3_is_not_run(run_dir, tmp_path, capsys):
    """Every process wrote its own share of the weights, which DeepSpeed's reader would unpickle."""
    copied = shutil.copytree(run_dir, tmp_path / "run")
    state = copied / "checkpoints" / "step_000004" / "state.ckpt"
    state.unlink()
    (state / "checkpoint").mkdir(parents=True)
    for kind in ("model", "optim"):
        torch.save(Owned(), state / "checkpoint" / f"zero_pp_rank_0_mp_rank_00_{kind}_states.pt")
    message = refusal(capsys, f"run={copied}", f"output={tmp_path / 'model'}")
    assert "UnpicklingError: Weights only load failed" in message and not Path("owned").exists()


def test_weights_may_be_halved(run_dir, tmp_path, capsys):
    assert main([f"run={run_dir}", f"output={tmp_path / 'model'}", "step=2", "dtype=bfloat16"]) == 0
    weights = load_file(tmp_path / "model" / "model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    right = policy_of(run_dir, step=2).model.state_dict()["model.language_model.norm.weight"]
    assert weights["model.norm.weight"].equal(right.bfloat16())
    assert load_config(tmp_path / "model")["dtype"] == "bfloat16"
    assert "weights after 2 steps, bfloat16, " in capsys.readouterr().out


def test_weights_that_a_checkpoint_has_in_bfloat16_stay_so(run_dir, tmp_path, capsys):
    """As DeepSpeed's are, whatever type the run's model began in."""
    copied = shutil.copytree(run_dir, tmp_path / "run")
    state = copied / "checkpoints" / "step_000004" / "state.ckpt"
    found = torch.load(state, weights_only=True)
    found["state_dict"] = {name: weight.bfloat16() for name, weight in found["state_dict"].items()}
    torch.save(found, state)
    assert main([f"run={copied}", f"output={tmp_path / 'model'}"]) == 0
    assert load_config(tmp_path / "model")["dtype"] == "bfloat16" and "4 steps, bfloat16, " in capsys.readouterr().out
    assert {weight.dtype for weight in load_file(tmp_path / "model" / "model.safetensors").values()} == {torch.bfloat16}


def refusal(capsys, *words):
    """The one line with which the command refuses, having written nothing."""
    output = next(Path(word.partition("=")[2]) for word in words if word.startswith("output="))
    before = sorted(output.parent.rglob("*"))
    capsys.readouterr()
    assert main(list(words)) == 1
    assert sorted(output.parent.rglob("*")) == before
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith("error: ")
    return told.err


def test_a_folder_that_holds_something_is_left_alone(run_dir, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("mine")
    assert "holds something already" in refusal(capsys, f"run={run_dir}", f"output={tmp_path / 'model'}")
    (tmp_path / "model" / "mine.txt").unlink()
    assert main([f"run={run_dir}", f"output={tmp_path / 'model'}"]) == 0  # an empty one is taken


def test_what_is_not_there_is_told_with_what_is(run_dir, tmp_path, capsys):
    output = f"output={tmp_path / 'model'}"
    assert "no checkpoint of step 3; there are 2, 4" in refusal(capsys, f"run={run_dir}", output, "step=3")
    assert "is no run folder: there is no config.yaml" in refusal(capsys, f"run={tmp_path}", output)
    absent = f"checkpoint={run_dir / 'checkpoints'}"
    assert "is no complete checkpoint: give a folder step_<number>" in refusal(capsys, f"run={run_dir}", output, absent)
    empty = shutil.copytree(run_dir, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    assert "has no complete checkpoint yet" in refusal(capsys, f"run={empty}", output)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "cannot be read"),
        (b"not a checkpoint", "cannot be read"),
        (pickle.dumps({"state_dict": Owned()}), "cannot be read, or holds something else than weights"),
    ],
)
def test_a_damaged_or_hostile_checkpoint_is_told_and_not_run(run_dir, tmp_path, monkeypatch, capsys, content, told):
    monkeypatch.chdir(tmp_path)
    copied = shutil.copytree(run_dir, tmp_path / "run")
    (copied / "checkpoints" / "step_000004" / "state.ckpt").write_bytes(content)
    assert told in refusal(capsys, f"run={copied}", f"output={tmp_path / 'out' / 'model'}")
    assert not Path("owned").exists()


def with_settings(run_dir, tmp_path, change):
    """A copy of the run whose configuration went through `change`."""
    copied = shutil.copytree(run_dir, tmp_path / "changed")
    config = yaml.safe_load((copied / "config.yaml").read_text())
    change(config)
    (copied / "config.yaml").write_text(yaml.safe_dump(config))
    return copied


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda config: config["model"].update({"_target_": "os.system"}), "may only construct names that start with"),
        (
            lambda config: config["model"].update({"width": 3}),
            "model of this run is not as this version of museg has it",
        ),
        (
            lambda config: config.update(model={"_target_": "museg.video.budget.FrameBudget"}),
            "makes no model: the run's configuration was changed",
        ),
        (lambda config: config["model"].update({"hidden_size": 48, "mrope_section": [2, 2, 2]}), "holds other weights"),
        (
            lambda config: config["video"]["budget"].update({"size": 3}),
            "video.budget of this run is not as this version",
        ),
        (lambda config: config.pop("video"), "it lacks video"),
        (lambda config: config["model"].update({"seed": "${oc.env:HOME}"}), "still refer elsewhere"),
    ],
)
def test_a_changed_configuration_is_told(run_dir, tmp_path, capsys, change, told):
    copied = with_settings(run_dir, tmp_path, change)
    assert told in refusal(capsys, f"run={copied}", f"output={tmp_path / 'model'}")


def test_a_base_that_has_moved_can_be_named(run_dir, folder, tmp_path, capsys):
    """A run on a model from a folder that is gone: its weights fit any copy of that model."""
    pretrained = {"_target_": "museg.policy.loading.load_pretrained", "path": "/gone", "attention": "flash_attention_2"}
    copied = with_settings(run_dir, tmp_path, lambda config: config.update(model=pretrained))
    message = refusal(capsys, f"run={copied}", f"output={tmp_path / 'model'}")
    assert "model.path='/gone' could not be loaded" in message and "base=PATH says where the model is now" in message
    assert main([f"run={copied}", f"output={tmp_path / 'model'}", "step=4", f"base={folder}"]) == 0
    there, wanted = load_file(tmp_path / "model" / "model.safetensors"), policy_of(run_dir, 4).model.state_dict()
    assert there["model.norm.weight"].equal(wanted["model.language_model.norm.weight"])
    error = refusal(capsys, f"run={run_dir}", f"output={tmp_path / 'other'}", f"base={folder}")
    assert "the model of this run was not loaded from anywhere" in error


def test_what_a_run_exports_itself_gets_a_card_too(run_dir):
    write_own_card(run_dir, 4)
    card = " ".join((run_dir / "exported" / CARD_FILE).read_text().split())
    assert "after 4 of 4 steps" in card and "The weights are stored as `float32`." in card
    assert "clips that museg has drawn" in card
    assert re.search(r"exported with `python [\d.]+, .*torch [\d.]+", card)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run"], "must be written key=value"),
        (["run=a"], "give output=FOLDER"),
        (["dtype=float32"], "give run=FOLDER and output=FOLDER"),
        (["run=a", "output=b", "stpe=3"], "unknown argument 'stpe'.*step"),
        (["run=a", "output=b", "step=last"], "step must be a whole number, not 'last'"),
        (["run=a", "output=b", "dtype=float16"], "dtype must be one of auto, float32, bfloat16, not 'float16'"),
        (["run=a", "output=b", "step=1", "checkpoint=c"], "not both"),
        (["run=a", "run=b", "output=c"], "run is given twice"),
    ],
)
def test_a_command_line_that_cannot_be_meant(words, told, capsys):
    with pytest.raises(ValueError, match=told):
        understood(words)
    assert main(words) == 2 and capsys.readouterr().err.startswith("error: ")


def test_help(capsys):
    assert main(["--help"]) == 0 and main([]) == 2
    assert "output=FOLDER" in capsys.readouterr().out
