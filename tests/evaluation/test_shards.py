import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from museg.evaluation.shards import answering_device, plan_batches, resolve_shard
from tests.evaluation.small_answers import SAMPLES, sample

ARRAY = {"SLURM_ARRAY_TASK_ID": "6", "SLURM_ARRAY_TASK_MIN": "4", "SLURM_ARRAY_TASK_COUNT": "3"}
STEP = {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}
TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "3"}


@pytest.mark.parametrize(
    ("given", "environ", "shard"),
    [
        ((None, None), {}, (0, 1)),
        ((1, 5), {**ARRAY, **TORCHRUN}, (1, 5)),
        ((None, None), TORCHRUN, (3, 8)),
        ((None, None), {**TORCHRUN, **STEP}, (3, 8)),
        ((None, None), STEP, (1, 2)),
        ((None, None), ARRAY, (2, 3)),  # the tasks are 4, 5, 6
        ((None, None), {**ARRAY, "SLURM_ARRAY_TASK_STEP": "2"}, (1, 3)),  # the tasks are 4, 6, 8
        ((None, None), {**ARRAY, **STEP}, (5, 6)),  # two processes before each task's second
        ((None, None), {**ARRAY, **TORCHRUN}, (19, 24)),  # twice eight processes, then the fourth
        # a batch script's own process sees how many tasks srun could start, and is none of them
        ((None, None), {"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, (0, 1)),
    ],
)
def test_who_this_process_is(given, environ, shard):
    assert resolve_shard(*given, environ) == shard


@pytest.mark.parametrize(
    ("given", "environ", "message"),
    [
        ((1, None), {}, "shard.index=1 and shard.count=None: give both, or neither"),
        ((None, 2), {}, "give both, or neither"),
        ((2, 2), {}, "shard 2 of 2 does not exist: numbers go from 0 to 1"),
        ((-1, 2), {}, "shard -1 of 2"),
        (
            (None, None),
            {**TORCHRUN, "RANK": "x"},
            "environment variable RANK='x' should be a whole number: unset it, or",
        ),
        ((None, None), {**TORCHRUN, "WORLD_SIZE": "8.0"}, r"WORLD_SIZE='8\.0' should be"),
        ((None, None), {**STEP, "SLURM_PROCID": "a b"}, "SLURM_PROCID='a b' should be"),
        (
            (None, None),
            {**STEP, "SLURM_STEP_NUM_TASKS": "2(x3)"},
            "SLURM_STEP_NUM_TASKS=.* shard.index and shard.count",
        ),
        ((None, None), {**ARRAY, "SLURM_ARRAY_TASK_MIN": "-"}, "SLURM_ARRAY_TASK_MIN='-' should be"),
        # --array=4,5,9 has three tasks, the last of which would be number 5
        ((None, None), {**ARRAY, "SLURM_ARRAY_TASK_ID": "9"}, "shard 5 of 3 .* an array have gaps"),
    ],
)
def test_places_that_do_not_exist(given, environ, message):
    with pytest.raises(ValueError, match=message):
        resolve_shard(*given, environ)


def test_the_device_follows_the_place_on_the_machine(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert answering_device("auto", {}) == torch.device("cuda:0")
    assert answering_device("cuda", {"LOCAL_RANK": "3"}) == torch.device("cuda:3")
    assert answering_device("auto", {"SLURM_LOCALID": "2"}) == torch.device("cuda:2")
    assert answering_device("cpu", {"LOCAL_RANK": "3"}) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # srun --gpus-per-task=1
    assert answering_device("auto", {"SLURM_LOCALID": "2"}) == torch.device("cuda:0")


def test_a_graphics_card_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert answering_device("auto", {"LOCAL_RANK": "3"}) == torch.device("cpu")
    with pytest.raises(ValueError, match="no graphics card here; use device=cpu"):
        answering_device("cuda", {})


def test_a_place_on_the_machine_that_is_no_number(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    with pytest.raises(ValueError, match="environment variable LOCAL_RANK='first' should be a whole number"):
        answering_device("auto", {"LOCAL_RANK": "first"})
    assert answering_device("auto", {"LOCAL_RANK": "", "SLURM_LOCALID": "1"}) == torch.device("cuda:1")


def test_questions_on_one_video_stand_together():
    batches = plan_batches(SAMPLES, (0, 1), 5)
    # by clip 0 0 0 1 1 | 2 2 3 4 5 | 6 7, each in the order of the rows
    assert [[sample.row for sample in batch] for batch in batches] == [[0, 3, 8, 1, 5], [2, 9, 4, 6, 7], [10, 11]]
    assert [[sample.row for sample in batch] for batch in plan_batches(SAMPLES, (1, 3), 5)] == [[1, 5, 6, 11]]
    assert plan_batches(SAMPLES[:1], (1, 3), 5) == []


@given(
    clips=st.lists(st.integers(0, 9), max_size=40),
    count=st.integers(1, 5),
    batch_size=st.integers(1, 7),
)
def test_the_shards_share_all_samples_and_no_video(clips, count, batch_size):
    samples = [sample(row, clip) for row, clip in enumerate(clips)]
    shards = [plan_batches(samples, (index, count), batch_size) for index in range(count)]
    rows = [[sample.row for batch in shard for sample in batch] for shard in shards]
    assert sorted(row for part in rows for row in part) == list(range(len(clips)))
    videos = [{clips[row] for row in part} for part in rows]
    assert sum(map(len, videos)) == len(set(clips))
    assert all(len(batch) == batch_size for shard in shards for batch in shard[:-1])
