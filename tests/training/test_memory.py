"""Bytes by part and moment, worked out by hand."""

from dataclasses import replace

import pytest

from museg.policy.sizes import DecoderSizes, TowerSizes
from museg.training.memory import (
    ALLOCATOR_SHARE,
    PARTS,
    Counted,
    Holding,
    by_deepspeed,
    by_fsdp,
    peak,
    plan,
    total,
    whole,
)
from museg.training.memory_table import GIB, Room, as_table, fits, remedy, size_text, verdict
from museg.training.step_memory import FLOAT32, Load, Shape, cached, sampling, updating

SHAPE = Shape(
    DecoderSizes(layers=2, hidden=8, ffn=16, heads=2, key_heads=1, vocabulary=50),
    TowerSizes(depth=1, full_layers=1, hidden=4, ffn=8, heads=2, patch_values=12, window=4, merge=2, out=8),
    FLOAT32,
    checkpointing=False,
)
LOAD = Load(
    prompts=3,
    micro_batch_prompts=2,
    held_out_prompts=5,
    prompt_tokens=10,
    patches=16,
    generations=4,
    completion_tokens=6,
)
COUNTED = Counted(frozen=100, trained=1000, outside=400, largest=200)
ALONE = whole(4, optimizer_bytes=8, is_cast=False, is_exchanged=False, is_on_gpu=False)


def test_one_process_holds_everything():
    found = plan(SHAPE, COUNTED, ALONE, LOAD)
    # 1,100 float32 weights, as many in the reference, two moments and a gradient of each of the 1,000 that learn
    assert found["update"] == {
        "weights": 4400,
        "gradients": 4000,
        "optimizer": 8000,
        "reference": 4400,
        "buffers": 0,
        "activations": updating(SHAPE, LOAD),
        "cache": 0,
        "allocator": ALLOCATOR_SHARE * updating(SHAPE, LOAD),
    }
    # two layers with a key and a value of width 4 each: 16 float32 numbers a token; 3 prompts of 10, 12 answers of 6
    assert found["rollout"]["cache"] == 3 * (10 + 4 * 6) * 16 * 4 == cached(SHAPE, 3, 4, LOAD)
    assert found["validation"]["cache"] == 5 * (10 + 6) * 16 * 4
    assert found["rollout"]["gradients"] == found["optimizer step"]["cache"] == 0
    made = sampling(SHAPE, 3, 4, LOAD)
    assert total(found, "rollout") == pytest.approx(4400 + 8000 + 4400 + made + ALLOCATOR_SHARE * made)
    assert plan(replace(SHAPE, is_on_gpu=True), COUNTED, ALONE, LOAD)["rollout"]["allocator"] == 0


def test_a_cache_that_is_not_shared_holds_prompts_for_every_completion():
    assert cached(SHAPE, 3, 4, replace(LOAD, shares_cache=False)) == 3 * 4 * (10 + 6) * 16 * 4


def test_moments_that_do_not_come_are_left_out():
    assert set(plan(SHAPE, COUNTED, ALONE, LOAD, samples=False)) == {"update", "optimizer step", "validation"}
    assert "validation" not in plan(SHAPE, COUNTED, ALONE, replace(LOAD, held_out_prompts=0))


def test_several_processes_with_all_weights_on_gpus():
    holding = whole(4, optimizer_bytes=8, is_cast=True, is_exchanged=True, is_on_gpu=True)
    found = plan(SHAPE, COUNTED, holding, LOAD)
    # of every number that learns: a bfloat16 cast and a place in the buckets; a float32 number while AdamW steps
    assert found["update"]["buffers"] == 1000 * (2 + 4)
    assert found["optimizer step"]["optimizer"] == 1000 * (8 + 4)
    eight_bit = whole(4, optimizer_bytes=2, is_cast=True, is_exchanged=False, is_on_gpu=True)
    assert plan(SHAPE, COUNTED, eight_bit, LOAD)["optimizer step"]["optimizer"] == 2000


def test_stages_of_zero():
    second = plan(SHAPE, COUNTED, by_deepspeed(2, 4, 2, bucket_numbers=50), LOAD)
    # whole weights and reference in bfloat16, a quarter of the gradients, of float32 masters and of two moments
    assert [second["update"][part] for part in ("weights", "reference", "gradients", "optimizer")] == [
        2200,
        2200,
        500,
        3000,
    ]
    assert second["optimizer step"]["optimizer"] == 3000 + 1000 * 8 / 4
    assert second["update"]["buffers"] == 100
    first = plan(SHAPE, COUNTED, by_deepspeed(1, 4, 2, bucket_numbers=0), LOAD)
    assert first["update"]["gradients"] == 2000
    third = plan(SHAPE, COUNTED, by_deepspeed(3, 4, 2, bucket_numbers=0), LOAD)
    # a quarter of the weights, and all of them while completions are sampled or questions answered; a whole reference,
    # and as many weights as may be gathered at one time
    assert (third["update"]["reference"], third["update"]["buffers"]) == (2200, 2e9)
    assert third["update"]["weights"] == third["optimizer step"]["weights"] == 550
    assert third["rollout"]["weights"] == third["validation"]["weights"] == 550 + 2200


def test_an_optimizer_in_the_hosts_memory():
    holding = by_deepspeed(2, 4, 2, bucket_numbers=0, is_on_host=True)
    assert plan(SHAPE, COUNTED, holding, LOAD)["optimizer step"]["optimizer"] == 0
    # a quarter of float32 masters (4), of two moments (8) and of gradients in float32 (4)
    assert holding.on_host == (4 + 8 + 4) / 4
    assert by_deepspeed(2, 4, 2, bucket_numbers=0).on_host == 0


def test_fsdp():
    found = plan(SHAPE, COUNTED, by_fsdp(4, 4, 2, COUNTED), LOAD)
    # a quarter of everything in float32, of the reference in bfloat16; what is outside of layers and two of these in
    # bfloat16, of policy and reference, and a layer's gradient
    assert (found["update"]["weights"], found["update"]["reference"]) == (1100, 550)
    assert (found["update"]["gradients"], found["update"]["optimizer"]) == (1000, 2000)
    assert found["update"]["buffers"] == 2 * 2 * (400 + 2 * 200) + 4 * 200
    assert found["rollout"]["weights"] == 1100 + 2200
    # 40 of the frozen numbers are a tower's, whole in all four processes: three quarters of them come on top
    whole_tower = plan(SHAPE, COUNTED, by_fsdp(4, 4, 2, replace(COUNTED, frozen_tower=40)), LOAD)
    assert whole_tower["update"]["buffers"] == found["update"]["buffers"] + 3 * 40


def test_an_adapter_alone_has_gradients_and_a_copy():
    adapter = Counted(frozen=1000, trained=10, outside=400, largest=200, is_adapter=True)
    holding = whole(2, optimizer_bytes=8, is_cast=False, is_exchanged=False, is_on_gpu=False)
    found = plan(SHAPE, adapter, replace(holding, reference=4), LOAD)["update"]
    assert [found[part] for part in ("weights", "gradients", "optimizer", "reference")] == [2040, 40, 80, 40]


def test_peak_is_the_moment_that_needs_most():
    made = {"rollout": {"weights": 1.0, "cache": 3.0}, "update": {"weights": 1.0, "cache": 2.0}}
    assert peak(made) == ("rollout", 4.0)


def made_plan(weights_gib: float, activations_gib: float):
    parts = dict.fromkeys(PARTS, 0.0)
    return {"update": parts | {"weights": weights_gib * GIB, "activations": activations_gib * GIB}}


def test_a_table_in_its_unit():
    rows = [line.split() for line in as_table(made_plan(2, 1.25)).splitlines()]
    assert rows[0] == ["GiB", "per", "process", "update"]
    assert ["weights", "2.0"] in rows and ["gradients", "-"] in rows and rows[-1] == ["together", "3.2"]
    assert as_table(made_plan(0.5, 0.25)).splitlines()[-1].split() == ["together", "768.0"]
    assert (size_text(1.5 * GIB), size_text(GIB / 2)) == ("1.5 GiB", "512.0 MiB")


@pytest.mark.parametrize(
    ("free_gib", "said"),
    [(10, "fits: 8.0 GiB during the update, and it has 10"), (8.5, "tight"), (7, "small")],
)
def test_verdict_on_a_device(free_gib, said):
    # a tenth is left for what is not counted: of 10 GiB 9 may be used, of 8.5 only 7.65
    assert said in verdict(made_plan(6, 2), Room("it", int(free_gib * GIB)))
    assert fits(8 * GIB, free_gib * GIB) == (free_gib == 10)


def test_processes_of_one_machine_share_its_memory():
    assert verdict(made_plan(3, 1), Room("it", 10 * GIB, num_processes=2)).startswith("fits: 8.0 GiB")
    assert "too small: 16.0 GiB" in verdict(made_plan(3, 1), Room("it", 10 * GIB, num_processes=4))


def test_the_remedy_is_for_what_is_large():
    assert "zero2" in remedy(made_plan(6, 2)) and "micro_batch_prompts" in remedy(made_plan(2, 6))
    assert "no GPU" in verdict(made_plan(6, 2), None)


def test_holdings_share_without_losing_anything():
    """What all processes hold of a sharded optimizer is what one would."""
    for world_size in (1, 2, 7):
        holding: Holding = by_deepspeed(2, world_size, 2, bucket_numbers=0)
        assert holding.optimizer * world_size == pytest.approx(12)
        assert by_fsdp(world_size, 4, 2, COUNTED).optimizer * world_size == pytest.approx(8)
