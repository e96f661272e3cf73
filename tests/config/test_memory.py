"""`dry_run=memory`: published models at full size without their memory; the tiny model's estimate against its peak."""

from dataclasses import replace

import pytest
import torch

from museg.config.command_line import TRAIN, checked_arguments
from museg.config.learning_weights import learning
from museg.config.memory import at_hand, counted_of, estimate, memory_text, sized_model
from museg.config.validation import InvalidConfiguration, checked_settings
from museg.policy.lora import num_adapter_weights
from museg.targets import build
from museg.training import memory_table
from museg.training.memory import PARTS, peak, total
from museg.training.memory_table import GIB, MIB, Room
from tests.benchmarks.measure import peak_mib
from tests.config.measured_step import prepared
from tests.config.options import CONF, compose

PUBLISHED = {"3b": 3_754_622_976, "7b": 8_292_166_656}
"""Parameters as the hub counts them in the safetensors files of Qwen/Qwen2.5-VL-*-Instruct; 3B ties head and
embeddings, and its files hold them once."""
TINY = ("cold_start=none", "phase.steps=2", "phase.total_steps=4")


def settings_of(*overrides: str):
    return checked_settings(compose("dry_run=memory", *overrides))


def weights_by_part(model):
    visual, language = model.model.visual, model.model.language_model
    merger = set(map(id, visual.merger.parameters()))
    return {
        "vision": [weight for weight in visual.parameters() if id(weight) not in merger],
        "projector": list(visual.merger.parameters()),
        "language": [*language.parameters(), model.lm_head.weight],
    }


@pytest.mark.parametrize("size", PUBLISHED)
@pytest.mark.parametrize("frozen", [(), ("vision",), ("vision", "projector"), ("language",)])
def test_recipes_at_full_size_without_their_memory(size, frozen):
    settings = settings_of(f"experiment=museg_{size}", *(f"model.frozen.{part}=true" for part in frozen))
    model, _ = sized_model(settings["model"])
    assert all(weight.is_meta for weight in model.parameters())
    for part, weights in weights_by_part(model).items():
        assert {weight.requires_grad for weight in weights} == {part not in frozen}
    counted = counted_of(model, settings)
    assert counted.all == PUBLISHED[size]
    assert counted.frozen == sum(weight.numel() for weight in set(model.parameters()) if not weight.requires_grad)


def test_the_tied_head_counts_once():
    """3B without a head of its own; were the same matrix counted twice, there would be 311 million more."""
    model, _ = sized_model(settings_of("experiment=museg_3b")["model"])
    assert model.lm_head.weight is model.model.language_model.embed_tokens.weight
    assert sum(value.numel() for value in model.state_dict().values()) == PUBLISHED["3b"] + 151_936 * 2048
    large, _ = sized_model(settings_of("experiment=museg_7b")["model"])
    assert sum(value.numel() for value in large.state_dict().values()) == PUBLISHED["7b"]


def test_7b_under_zero_2_on_eight():
    found = estimate(settings_of("experiment=museg_7b", "trainer.devices=8"))
    n, update = PUBLISHED["7b"], found.usual["update"]
    assert (found.world_size, found.load.prompts) == (8, 2)
    # bfloat16 weights and reference in every process; an eighth of bfloat16 gradients and of 12 bytes of the optimizer
    assert update["weights"] == update["reference"] == 2 * n
    assert (update["gradients"], update["optimizer"]) == (2 * n / 8, 12 * n / 8)
    # 3,584 tokens of video; keys and values of 28 layers, 4 heads of 128 in bfloat16; of 2 prompts, 8 completions each
    tokens = found.load.prompt_tokens + 8 * found.load.completion_tokens
    assert found.usual["rollout"]["cache"] == 2 * tokens * 28 * 2 * 512 * 2
    assert 3584 + 100 < found.load.prompt_tokens < 3584 + 256
    assert found.load.prompt_tokens + found.load.completion_tokens == 4096
    moment, needed = peak(found.usual)
    assert needed == total(found.usual, moment) == sum(found.usual[moment].values())


def test_an_adapter_trains_in_the_place_of_all_weights():
    settings = settings_of("experiment=museg_3b", "trainer=single_gpu", "model.lora.rank=16", "model.dtype=bfloat16")
    model, _ = sized_model(settings["model"])
    found, adapter = estimate(settings), num_adapter_weights(model, build(settings["model"]["lora"]))
    # 36 layers, 16 wide: queries and output 2 x (2048 + 2048), keys and values 2 x (2048 + 256), three of 2048 + 11008
    assert found.counted.trained == adapter == 36 * 16 * (2 * 4096 + 2 * 2304 + 3 * 13056)
    update = found.usual["update"]
    assert update["weights"] == 2 * PUBLISHED["3b"] + 4 * adapter
    assert update["gradients"] == update["reference"] == 4 * adapter
    assert update["optimizer"] == 8 * adapter


def test_what_changes_the_estimate():
    def needed(*overrides: str) -> float:
        return peak(estimate(settings_of("experiment=museg_3b", "trainer.devices=7", *overrides)).usual)[1]

    usual = needed()
    assert needed("trainer.devices=14") < usual
    assert needed("objective.beta=0") == pytest.approx(usual - 2 * PUBLISHED["3b"])
    assert needed("model.frozen.vision=true", "model.frozen.projector=true") < usual
    assert needed("model.gradient_checkpointing=false") > usual + 20 * GIB
    assert needed("video.budget.total_pixels=702464", "rollout.max_new_tokens=300") < usual


def test_supervised_training_samples_nothing_and_needs_no_reference():
    found = estimate(settings_of("experiment=museg_3b", "method=sft"))
    assert "rollout" not in found.usual and found.usual["update"]["reference"] == 0


def test_text_tells_all_parts_and_the_longest_completions():
    text = memory_text(settings_of("experiment=museg_7b"))
    assert text.startswith("Qwen/Qwen2.5-VL-7B-Instruct: 8,292,166,656 parameters, 8,292,166,656 of them trained\n")
    assert "DeepSpeed ZeRO-2, bf16-mixed" in text
    starts = [line.split("  ")[0] for line in text.splitlines()]
    assert [part for part in PARTS if part in starts] == list(PARTS)
    # the shortest video has 2 frame pairs of 16 tokens instead of 3,584: 3,552 tokens more for a completion
    assert "leave room for completions of 3919 tokens" in text
    if not torch.cuda.is_available():
        assert "warning: this machine has no GPU" in text


def with_gpus(monkeypatch, count, host_gib):
    """A machine with so many GPUs of 80 GiB and so much memory; with none, what it has does not matter."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda number: (80 * GIB, 80 * GIB))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: "made up")
    monkeypatch.setattr(memory_table, "host_room", lambda processes: Room("this machine", host_gib * GIB, processes))


def test_the_machine_at_hand_has_gpus_and_memory_for_loading_or_not(monkeypatch):
    settings = settings_of("experiment=museg_7b")
    found = estimate(settings)
    # weights and the reference's copy in float32, in each of 8 processes
    assert found.host.loading == 2 * 4 * PUBLISHED["7b"]
    with_gpus(monkeypatch, 8, host_gib=600)
    assert [line.partition(":")[0] for line in at_hand(found, settings)] == ["fits", "fits"]
    with_gpus(monkeypatch, 2, host_gib=400)
    told = "\n".join(at_hand(found, settings))
    assert "too few: 8 processes want a GPU each, and this machine has 2 GPUs. Use trainer.devices=2" in told
    assert "warning: too small: 494.3 GiB in the host's memory, while the weights are loaded by 8 processes" in told
    assert "model.dtype=bfloat16 halves it" in told
    with_gpus(monkeypatch, 0, host_gib=1)
    unknown = settings | {"trainer": settings["trainer"] | {"devices": "auto"}}
    assert "trainer.devices=auto is counted as 1" in "\n".join(at_hand(replace(found, world_size=1), unknown))
    assert at_hand(found, settings)[-1].startswith("494.3 GiB in the host's memory")  # of another machine


def test_an_optimizer_on_the_host_may_take_more_of_it_than_loading(monkeypatch):
    usual = ("experiment=museg_7b", "model.dtype=bfloat16", "objective.beta=0", "trainer.devices=4")
    settings, n = settings_of(*usual, "trainer.strategy.offload_optimizer=true"), PUBLISHED["7b"]
    found = estimate(settings)
    # each process loads bfloat16 weights and no reference; a quarter of masters (4), moments (8), gradients (4)
    assert (found.host.loading, found.host.stepping) == (2 * n, (4 + 8 + 4) * n / 4)
    assert found.usual["update"]["optimizer"] == 0
    # all four: 16 bytes of 8,292,166,656 numbers are 123.6 GiB, more than the 8 bytes while they load
    with_gpus(monkeypatch, 4, host_gib=100)
    told = at_hand(found, settings)[-1]
    assert "too small: 123.6 GiB in the host's memory, while the weights are updated by 4 processes" in told
    assert "offload_optimizer=false" in told
    # eight in two machines: in each four that have an eighth, 8 bytes of a number
    (text,) = at_hand(*two_machines(settings))[-1:]
    assert "61.8 GiB in the host's memory" in text
    # with it on the GPUs only loading counts
    on_gpus = settings_of(*usual)
    assert estimate(on_gpus).host.stepping == 0 and "are loaded by 4" in at_hand(estimate(on_gpus), on_gpus)[-1]


def two_machines(settings):
    spread = settings | {"trainer": settings["trainer"] | {"num_nodes": 2}}
    return estimate(spread), spread


def test_a_processor_has_no_other_memory_for_an_optimizer():
    usual = ("experiment=museg_7b", "trainer.devices=4", "trainer.strategy.offload_optimizer=true")
    found = estimate(settings_of(*usual, "trainer.accelerator=cpu"))
    assert found.usual["update"]["optimizer"] == 12 * PUBLISHED["7b"] / 4 and found.host.stepping == 0


def test_a_folder_tells_its_size_and_an_unknown_name_is_refused(tmp_path):
    policy = build(settings_of()["model"])
    policy.model.config.save_pretrained(tmp_path)
    tiny = ("model=qwen2_5_vl_3b", f"model.path={tmp_path}")
    assert estimate(settings_of(*tiny)).counted.all == sum(weight.numel() for weight in policy.model.parameters())
    with pytest.raises(ValueError, match="no published size is called 'Qwen/Qwen9'"):
        estimate(settings_of("model=qwen2_5_vl_3b", "model.path=Qwen/Qwen9"))
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"has no config\.json"):
        estimate(settings_of(*tiny))


def test_a_dry_run_needs_no_data_but_sound_settings():
    with pytest.raises(InvalidConfiguration, match=r"dataset\.stage_1"):
        checked_settings(compose("experiment=museg_3b", "trainer=single_gpu"))
    with pytest.raises(InvalidConfiguration, match=r"dry_run: must be one of memory"):
        checked_settings(compose("dry_run=time"))
    with pytest.raises(InvalidConfiguration, match=r"rollout\.max_context_tokens"):
        settings_of("experiment=museg_3b", "rollout.max_context_tokens=100")


def test_the_command_prints_and_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:  # as train.py does before Hydra makes a folder
        checked_arguments(["experiment=museg_3b", "dry_run=memory"], CONF, TRAIN)
    told = capsys.readouterr().out
    assert ended.value.code == 0 and "3,754,622,976 parameters" in told and "together" in told
    assert list(tmp_path.iterdir()) == []


def test_the_tiny_models_estimate_is_its_measured_peak():
    """Highest resident size of real steps in a fresh process, above that with everything loaded, within 20 %."""
    torch.set_num_threads(1)
    found = estimate(settings_of(*TINY)).usual
    # weights and reference are loaded before the clock of memory starts
    above = max(total(found, moment) - found[moment]["weights"] - found[moment]["reference"] for moment in found)
    measured_mib = peak_mib(prepared, list(TINY))
    assert measured_mib > 150  # what libraries claim on the way is small beside it
    assert measured_mib == pytest.approx(above / MIB, rel=0.2)


def test_phases_that_name_what_they_train():
    """MeCo's stages: the last one trains most, an adapter, the merger, all embeddings and the heads."""
    settings = settings_of("experiment=meco_3b", "dry_run=memory", "trainer=single_gpu")
    model, _ = sized_model(settings["model"])
    counted, found = counted_of(model, settings), learning(model, settings)
    # 36 layers, 128 wide, attention alone: queries and output 2 x (2048 + 2048), keys and values 2 x (2048 + 256)
    assert found.adapter == 36 * 128 * (2 * 4096 + 2 * 2304)
    # each head: a norm of 2 x 2048, 2048 x 1024 and back, biases; and the scale
    assert found.heads == 2 * (2 * 2048 + 2 * 2048 * 1024 + 1024 + 2048) + 1
    merger = sum(weight.numel() for weight in model.model.visual.merger.parameters())
    assert found.own == merger + 151_936 * 2048
    assert counted.trained == found.all and counted.all == PUBLISHED["3b"] + found.adapter + found.heads
    assert estimate(settings).load.prompts == 256  # of the first stage
