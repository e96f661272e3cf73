"""What `python train.py --help` prints: how to use the program, then every group with its options."""

from __future__ import annotations

from pathlib import Path

INTRODUCTION = """\
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
  prompts_per_step=...  questions per optimizer step; rollout.num_generations=... completions for each
  validation.every_steps=... checkpoint.every_steps=...
  logger=wandb logger.wandb.offline=true
  resume=auto hydra.run.dir=FOLDER      continue there, or start there

More help
  --cfg job             print the composed configuration and run nothing
  --hydra-help          options of the launcher itself

Groups and their options (conf/GROUP/OPTION.yaml)"""


def help_text(conf: Path) -> str:
    """The introduction, and each option of each group with the first sentence of its file."""
    lines = [INTRODUCTION]
    for group in sorted(folder for folder in conf.iterdir() if folder.is_dir() and folder.name != "hydra"):
        lines.append(f"\n{group.name}")
        lines += [f"  {option.stem:<20} {first_sentence(option)}" for option in sorted(group.glob("*.yaml"))]
    return "\n".join(lines)


def first_sentence(option: Path) -> str:
    """The opening comment line of an option file, after its package directive if it has one."""
    lines = [line for line in option.read_text(encoding="utf-8").splitlines() if not line.startswith("# @package")]
    return lines[0].lstrip("# ") if lines and lines[0].startswith("#") else ""
