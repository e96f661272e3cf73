"""Real training steps of the tiny model in a process of their own, whose memory can be looked at."""

from collections.abc import Callable
from dataclasses import replace

from museg.config.job import build_job
from museg.config.step_load import QUERY
from museg.policy.reference import reference_of
from museg.training.museg_module import MusegModule
from tests.policy.drawn_clips import drawn_clip
from tests.training.small_fits import StepBatch, fit
from tests.walks import tiny_runs

NUM_STEPS = 2
"""The second has the optimizer's moments beside everything else."""


def prepared(overrides: list[str]) -> Callable[[], None]:
    """Load all that training needs and train one small step; returns the large steps, which remain to be done.

    No completion ends early, and videos are as long as the frame budget allows: the case that is estimated.
    """
    job = build_job(tiny_runs.checked(*overrides))
    policy = job.make_policy()
    policy.ids = replace(policy.ids, stop_ids=())
    fit(MusegModule(policy, job, reference_of(policy)), [StepBatch(0, [drawn_clip(0, num_frames=2)], 1)])
    clips = [drawn_clip(i, num_frames=job.budget.max_frames, query=QUERY) for i in range(job.prompts_per_step)]
    module = MusegModule(policy, job, reference_of(policy))
    batches = [StepBatch(step, clips, len(clips)) for step in range(NUM_STEPS)]
    return lambda: fit(module, batches) and None
