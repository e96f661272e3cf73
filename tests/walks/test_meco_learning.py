"""The tiny model learns from random weights to find events by structural tokens; without frames or loss it fails."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from museg.config.job import build_job
from museg.data.clips import LoadedClip
from museg.training.learner import Learner
from museg.training.run_clips import clip_loader, held_out_set
from tests.walks import tiny_runs

pytestmark = pytest.mark.thorough

STEPS, STEPS_OF_CONTROL = 250, 120
MOST_BY_CHANCE = 0.35
"""Of the mean IoU: steps drawn at random, as many as are asked for, earn about half of this."""


def overrides(outputs: Path, *others: str) -> list[str]:
    """What `experiment=meco_tiny` runs, shorter and on fewer clips."""
    kept = (f"dataset.root={outputs}/data", f"video.frame_cache_dir={outputs}/frames")
    clips = ("dataset.num_train_clips=1000", "dataset.num_held_out_clips=128", "video.num_workers=0")
    steps = (f"phase.total_steps={STEPS}", f"validation.every_steps={STEPS}", "validation.num_examples=128")
    return ["experiment=meco_tiny", *kept, *clips, *steps, *others]


def trained(outputs: Path, run_dir: Path, *others: str) -> Path:
    """A finished run."""
    tiny_runs.train(tiny_runs.checked(*overrides(outputs, *others)), run_dir)
    return run_dir


@pytest.fixture(scope="module")
def run_dir(outputs, tmp_path_factory) -> Path:
    """The run as it is meant."""
    return trained(outputs, tmp_path_factory.mktemp("meco") / "run")


def hit_at_1(run_dir: Path) -> float:
    """Over the last steps, on the texts that are to be learnt."""
    rows = tiny_runs.rows(run_dir, "train")[-20:]
    return float(np.mean([float(row["structure/hit_at_1"]) for row in rows]))


def held_out_mean_iou(run_dir: Path) -> float:
    return float(tiny_runs.rows(run_dir, "validation")[-1]["held_out/greedy/mean_iou"])


def mean_iou_of(run_dir: Path, outputs: Path, changed: Callable[[LoadedClip], LoadedClip]) -> float:
    """The same score of the exported model when the held-out clips are changed."""
    folder = run_dir / "exported"
    exported = ("model=qwen2_5_vl_3b", f"model.path={folder}", f"method.start_heads={folder}")
    job = build_job(tiny_runs.checked(*overrides(outputs, *exported)))
    learner, data = Learner(job, run_dir), job.make_data()
    learner.prepare()
    with clip_loader(job, run_dir, data, last_step=job.schedule.total_steps) as clips:
        held_out = held_out_set(job, data, clips)
    module = job.module_class(learner.policy, job, heads=learner.beside, **job.module_options)
    clips = replace(held_out, clips=[changed(clip) for clip in held_out.clips])
    return clips.evaluate(learner.policy, ("greedy",), reader=module.reader).scores["greedy"]["mean_iou"]


def shuffled(clip: LoadedClip) -> LoadedClip:
    """The frames of a clip in an order that has nothing to do with time."""
    order = np.random.default_rng(clip.position).permutation(len(clip.video.frames))
    return replace(clip, video=replace(clip.video, frames=clip.video.frames[order]))


def test_it_finds_what_it_was_asked_for(run_dir):
    assert hit_at_1(run_dir) >= 0.95
    assert held_out_mean_iou(run_dir) >= 0.6


def test_the_exported_model_finds_the_same(run_dir, outputs):
    assert mean_iou_of(run_dir, outputs, lambda clip: clip) == pytest.approx(held_out_mean_iou(run_dir))


def test_shuffled_frames_leave_chance(run_dir, outputs):
    assert mean_iou_of(run_dir, outputs, shuffled) <= MOST_BY_CHANCE


def test_the_text_alone_leaves_chance(outputs, tmp_path):
    """Without the structural loss the texts are learnt, and the heads find nothing."""
    without = trained(outputs, tmp_path / "run", "method.weight=0", f"phase.total_steps={STEPS_OF_CONTROL}")
    assert float(tiny_runs.rows(without, "train")[-1]["loss/text"]) < 0.5
    assert hit_at_1(without) < 0.5
    assert held_out_mean_iou(without) <= MOST_BY_CHANCE
