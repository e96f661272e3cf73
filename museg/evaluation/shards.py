"""Who answers what: the share of one process among many, cut into batches that depend on nothing else."""

from collections.abc import Mapping, Sequence

import torch

from museg.evaluation.samples import BenchmarkSample

Shard = tuple[int, int]
"""(index, count): this process is number `index`, from 0, of `count`."""


def resolve_shard(index: int | None, count: int | None, environ: Mapping[str, str]) -> Shard:
    """Which of how many processes this is.

    `index` and `count` decide where they are given. Else the place follows from how the process was started: the tasks
    of a SLURM array share the work, and within one of them so do the processes of torchrun, or else of srun. Started
    in none of these ways, a process takes all.

    Raises ValueError when only one of the two is given, `index` does not lie below `count`, or a variable of the
    environment is no number.
    """
    if (index is None) != (count is None):
        raise ValueError(f"shard.index={index} and shard.count={count}: give both, or neither")
    if index is None or count is None:
        job, num_jobs = _place_in_array(environ)
        process, num_processes = _place_in_job(environ)
        index, count = job * num_processes + process, num_jobs * num_processes
    if not 0 <= index < count:
        raise ValueError(
            f"shard {index} of {count} does not exist: numbers go from 0 to {count - 1}. Give shard.index and "
            "shard.count yourself where the numbers of an array have gaps"
        )
    return index, count


def _place_in_array(environ: Mapping[str, str]) -> Shard:
    if "SLURM_ARRAY_TASK_ID" not in environ:
        return 0, 1
    task, first, step, count = (
        _number(environ, f"SLURM_ARRAY_TASK_{name}", default)
        for name, default in (("ID", 0), ("MIN", 0), ("STEP", 1), ("COUNT", 1))
    )
    return (task - first) // max(step, 1), count


def _place_in_job(environ: Mapping[str, str]) -> Shard:
    """SLURM_NTASKS is no help: a batch script that starts one process by itself sees it too."""
    if "RANK" in environ and "WORLD_SIZE" in environ:
        return _number(environ, "RANK", 0), _number(environ, "WORLD_SIZE", 1)
    if "SLURM_STEP_NUM_TASKS" in environ:
        return _number(environ, "SLURM_PROCID", 0), _number(environ, "SLURM_STEP_NUM_TASKS", 1)
    return 0, 1


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    """An absent or empty variable is `default`; ValueError for one that is no whole number."""
    value = environ.get(name) or str(default)
    try:
        return int(value)
    except ValueError as error:
        raise ValueError(
            f"environment variable {name}={value!r} should be a whole number: unset it, or give shard.index and "
            "shard.count yourself"
        ) from error


def answering_device(choice: str, environ: Mapping[str, str]) -> torch.device:
    """The device for "auto", "cpu" or "cuda": of several graphics cards the one of this process on its machine.

    Raises ValueError when a graphics card is demanded and there is none, or its number is no number.
    """
    num_cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if choice == "cuda" and not num_cards:
        raise ValueError("device=cuda: torch sees no graphics card here; use device=cpu, or a machine with one")
    if choice == "cpu" or not num_cards:
        return torch.device("cpu")
    place = _number(environ, "LOCAL_RANK" if environ.get("LOCAL_RANK") else "SLURM_LOCALID", 0)
    # a process that was given one card sees only that one, as number 0, whatever its place
    return torch.device("cuda", place % num_cards)


def plan_batches(
    samples: Sequence[BenchmarkSample], shard: Shard, batch_size: int
) -> list[tuple[BenchmarkSample, ...]]:
    """The batches of one shard: every `count`-th video with all its questions, questions on one video in a row."""
    questions: dict[str, list[BenchmarkSample]] = {}
    for sample in samples:
        questions.setdefault(sample.video, []).append(sample)
    index, count = shard
    mine = [sample for video in list(questions)[index::count] for sample in questions[video]]
    return [tuple(mine[start : start + batch_size]) for start in range(0, len(mine), batch_size)]
