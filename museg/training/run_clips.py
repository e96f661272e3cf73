"""The clips of a run: decoded as its steps need them, and those held out once for all evaluations."""

import random
from dataclasses import replace
from pathlib import Path

from museg.data.clips import ClipLoader
from museg.data.dataset import GroundingData
from museg.data.frame_cache import frame_reader
from museg.training import processes
from museg.training.held_out import HeldOutSet
from museg.training.job import TrainingJob
from museg.training.step_stream import StepStream

QUARANTINE_FILE = "quarantine.jsonl"
BEFORE_TRAINING = -1
"""Step under which the held-out clips are decoded: any below 0 belongs to no reinforcement step."""


def clip_loader(job: TrainingJob, run_dir: Path, data: GroundingData, last_step: int) -> ClipLoader:
    """Decodes for the whole run. What was quarantined after `last_step`, by a run that was killed, is tried again."""
    decoding = job.decoding
    clips = ClipLoader(
        job.budget,
        data.video_root,
        num_workers=decoding.num_workers,
        timeout_s=decoding.timeout_s,
        steps_ahead=decoding.steps_ahead,
        cache_mib=decoding.cache_mib,
        quarantine_file=run_dir / QUARANTINE_FILE,
        writes_quarantine=processes.is_first(),
        read=frame_reader(decoding.frame_cache_dir, decoding.frame_cache_gib),
    )
    clips.quarantine.forget_after(last_step)
    return clips


def held_out_set(job: TrainingJob, data: GroundingData, clips: ClipLoader) -> HeldOutSet:
    """The same held-out examples for every seed; this process' share of them is decoded once and kept as frames."""
    examples = list(data.held_out)
    random.Random("held out").shuffle(examples)
    asked = examples[: job.validation.num_examples]
    [batch] = StepStream(clips, lambda step: asked, BEFORE_TRAINING, BEFORE_TRAINING + 1)
    processes.share_quarantine(clips.quarantine)
    readable = sorted(place for part in processes.gather([clip.position for clip in batch.clips]) for place in part)
    if asked and not readable:
        raise ValueError(f"none of the {len(asked)} held-out clips can be read; {QUARANTINE_FILE} says why")
    return HeldOutSet(
        [replace(clip, position=readable.index(clip.position)) for clip in batch.clips],
        job.wordings[job.evaluation_wording],
        job.rollout,
        job.validation.batch_size,
        job.seed,
    )
