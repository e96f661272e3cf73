"""The supervised start: when it stops, and that its result is kept and found again."""

import json
import multiprocessing
import os
import signal
import time

import pytest

from museg.config.job import build_job
from museg.training.cold_start import (
    ColdStartRecord,
    cache_folder,
    load_cached,
    one_at_a_time,
    save_cached,
)
from tests.walks import tiny_runs

SHORT = ("cold_start.max_steps=6", "cold_start.evaluate_every_steps=4", "cold_start.batch_size=8")
STEPS = ("phase.steps=1", "phase.total_steps=2")


def settings(outputs, cache_dir, *overrides):
    """A short run with the clips of the other tests and a cold start of its own."""
    return tiny_runs.settings(outputs, *SHORT, *STEPS, f"cold_start.cache_dir={cache_dir}", *overrides)


def record_of(run_dir) -> dict:
    return json.loads((run_dir / "cold_start.json").read_text())


def test_it_stops_at_the_first_look_that_reaches_the_target(outputs, tmp_path):
    tiny_runs.train(settings(outputs, tmp_path / "kept", "cold_start.evaluate_every_steps=2"), tmp_path / "run")
    record = record_of(tmp_path / "run")
    assert (record["steps"], record["reached_target"], len(record["curve"])) == (2, True, 1)
    assert record["stopped_because"].endswith("reached 0.0")


@pytest.mark.parametrize(
    "override",
    [
        "reward=maximum",
        "phase.steps=2",
        "video.num_workers=1",
        "prompts_per_step=2",
        "model.lora.rank=4",
        "prompt=meco_tiny",  # one wording more, which is not among those of a cold start
        "method=meco",
    ],
)
def test_what_does_not_matter_shares_the_result(override, outputs, tmp_path):
    one, other = (build_job(settings(outputs, tmp_path, *changed)) for changed in ((), (override,)))
    assert cache_folder(one) == cache_folder(other)


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "model.num_layers=2",
        "dataset.num_train_clips=65",
        "video.budget.max_frames=12",
        "prompt.wordings.plain.before_video=say {query}",
        "cold_start.evaluation=plain",
        "cold_start.lr=1e-3",
        "rollout.max_new_tokens=39",
        "optimizer.max_grad_norm=0.5",
        "trainer.precision=bf16-mixed",
    ],
)
def test_what_matters_has_a_result_of_its_own(override, outputs, tmp_path):
    key, _, value = override.partition("=")
    one, other = (build_job(settings(outputs, tmp_path, *changed)) for changed in ((), (f"{key}='{value}'",)))
    assert cache_folder(one) != cache_folder(other)


def test_a_result_comes_back_exactly_and_the_first_one_stays(outputs, tmp_path):
    job = build_job(settings(outputs, tmp_path))
    record = ColdStartRecord(4, "because", True, [{"step": 4, "loss": 0.1, "mean_iou": 0.2}])
    trained, fresh = job.make_policy(), job.make_policy()
    trained.model.lm_head.weight.data += 1
    assert load_cached(job, fresh) is None
    save_cached(job, trained, record)
    save_cached(job, fresh, ColdStartRecord(8, "later", True, []))  # another member of a sweep was slower
    assert load_cached(job, fresh) == record
    assert all(weight.equal(trained.model.state_dict()[name]) for name, weight in fresh.model.state_dict().items())
    assert [path.name for path in tmp_path.iterdir()] == [cache_folder(job).name]


def make_or_find(run_settings, told) -> None:
    """What a member of a sweep does about its cold start, with a second of sleep for the training."""
    job = build_job(run_settings)
    with one_at_a_time(job):
        policy = job.make_policy()
        if load_cached(job, policy) is None:
            told.put("makes")
            time.sleep(1)
            save_cached(job, policy, ColdStartRecord(4, "because", True, []))
        else:
            told.put("finds")


def die_inside(run_settings, told) -> None:
    with one_at_a_time(build_job(run_settings)):
        os.kill(os.getpid(), signal.SIGKILL)


def test_members_that_start_together_make_it_once_also_after_one_died(outputs, tmp_path):
    run_settings = settings(outputs, tmp_path)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["museg.training.run", "museg.config.job"])
    told = context.Queue()
    dead = context.Process(target=die_inside, args=(run_settings, told))
    dead.start()
    dead.join(60)
    assert dead.exitcode == -signal.SIGKILL
    members = [context.Process(target=make_or_find, args=(run_settings, told)) for _ in range(3)]
    for member in members:
        member.start()
    for member in members:
        member.join(60)
    assert [member.exitcode for member in members] == [0, 0, 0]
    assert sorted(told.get(timeout=5) for _ in members) == ["finds", "finds", "makes"]
    assert [path.name for path in tmp_path.iterdir()] == [cache_folder(build_job(run_settings)).name]


def test_other_seeds_do_not_wait_for_each_other(outputs, tmp_path):
    one, other = (build_job(settings(outputs, tmp_path, f"seed={seed}")) for seed in (1, 2))
    with one_at_a_time(one), one_at_a_time(other):
        assert len(list(tmp_path.glob("*.lock"))) == 2
    assert list(tmp_path.iterdir()) == []
