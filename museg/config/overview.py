"""What `--help` prints: how to use the program, then every group that it takes with its options."""

from __future__ import annotations

from pathlib import Path

import yaml

TRAIN_INTRODUCTION = """\
Train a video language model to find moments in time by reinforcement (MUSEG, arXiv 2505.20715).

  python train.py                                        the tiny model on drawn clips, on this machine
  python train.py reward=sequential phase.steps=400      GROUP=OPTION picks a file of conf/, KEY=VALUE sets one value
  python train.py -m reward=sequential,maximum           one run per value, under outputs/sweeps/
  python train.py experiment=museg_3b dataset.video_root=videos ...   the published recipe (see conf/experiment)
  python train.py resume=outputs/tiny/2026-01-31_12-00-00   continue a run in its folder

Most used settings
  name=...              names the run folder outputs/<name>/<date>
  seed=...              decides everything random
  phase.steps=...       length of the timestamp phase; phase.total_steps=... of all phases together
  model.lora.rank=16    a low-rank adapter trains, in place of all weights
  prompts_per_step=...  questions per optimizer step; rollout.num_generations=... completions for each
  validation.every_steps=... checkpoint.every_steps=...
  logger=wandb          a dashboard besides metrics.csv; offline where there is no API key
  dry_run=memory        what each process will need of its memory; runs nothing
  resume=auto hydra.run.dir=FOLDER      continue there, or start there

More help
  --cfg job             print the composed configuration and run nothing
  --hydra-help          options of the launcher itself

Groups and their options (conf/GROUP/OPTION.yaml)"""

EVALUATE_INTRODUCTION = """\
Answer a benchmark with a checkpoint, or score answers that exist, and compare the results.

  python evaluate.py benchmark=charades_sta checkpoint=outputs/museg_3b/...   answer with a model, then score
  python evaluate.py benchmark=thumos14 predictions=FILE      score saved answers, no model needed
  python evaluate.py completions=FILE reward=sequential       score completions as training would
  python evaluate.py 'compare=[RUN_A,RUN_B]'                  one table and one page over finished evaluations

Most used settings
  output=FOLDER             where results go; given again, an interrupted evaluation continues there
  data_root=FOLDER          holds annotations/ and videos/ (python -m museg.commands.prepare fills it)
  benchmark.annotations=FILE  replaces the distributed annotation file
  inference.batch_size=...  questions answered together
  captions=false            leave out caption metrics, which need Java
  phase=timestamp_never     for completions: leave the timestamp term out
  published=[museg_7b]      for compare: published numbers as further columns

More help
  --cfg job                 print the composed configuration and run nothing

Groups and their options (conf/GROUP/OPTION.yaml)"""


def help_text(conf: Path, config: str, introduction: str) -> str:
    """The introduction, and each option of each group of conf/<config>.yaml with the first sentence of its file."""
    lines = [introduction]
    for group in groups_of(conf, config):
        lines.append(f"\n{group}")
        lines += [f"  {option.stem:<20} {first_sentence(option)}" for option in sorted((conf / group).glob("*.yaml"))]
    return "\n".join(lines)


def groups_of(conf: Path, config: str) -> list[str]:
    """The groups in the defaults list of conf/<config>.yaml, sorted."""
    defaults = yaml.safe_load((conf / f"{config}.yaml").read_text(encoding="utf-8"))["defaults"]
    names = {name for entry in defaults if isinstance(entry, dict) for name in entry}
    return sorted(name for name in names if name.isidentifier())


def first_sentence(option: Path) -> str:
    """The opening comment line of an option file, after its package directive if it has one."""
    lines = [line for line in option.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    return lines[0].lstrip("# ") if lines and lines[0].startswith("#") else ""
