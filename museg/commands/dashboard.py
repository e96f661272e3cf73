"""Make the project's W&B workspace: curves by phase, held-out scores, completions with timelines, over all runs.

  python -m museg.commands.dashboard entity=TEAM
  python -m museg.commands.dashboard dry_run=true

entity=TEAM     the team or account whose workspace it becomes; your default one unless told otherwise
project=museg   the W&B project, as in logger.wandb.project
name=MUSEG      title of the saved view; every call saves a new one
dry_run=true    only say what it would show, which needs neither network nor account

Without W&B every run folder has the same as report.html; `python -m museg.commands.report RUN_DIR` writes it again.

Exit status: 0 saved or told, 1 W&B refused, 2 the command could not be understood or a package is missing.
"""

import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields

from museg.commands.key_values import is_true, key_values

PACKAGE = "wandb_workspaces"


@dataclass(frozen=True)
class Arguments:
    """The command line, understood."""

    entity: str = ""
    project: str = "museg"
    name: str = "MUSEG"
    dry_run: bool = False


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line asks; the exit status is explained above."""
    words = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return 0
    try:
        asked = understood(words)
    except ValueError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    if asked.dry_run:
        describe()
        return 0
    if importlib.util.find_spec(PACKAGE) is None:
        print(
            "error: needs the package wandb-workspaces: pip install -e '.[dashboard]' -c constraints.txt. Without W&B, "
            "report.html in every run folder shows the same.",
            file=sys.stderr,
        )
        return 2
    return save(asked)


def understood(words: Sequence[str]) -> Arguments:
    """The arguments `key=value`. Raises ValueError with the closest valid name for one that is not known."""
    given = key_values(words, [field.name for field in fields(Arguments)], example="entity=my-team")
    return Arguments(**given | {"dry_run": is_true("dry_run", given.get("dry_run", "false"))})


def describe() -> None:
    """Print the sections with their curves."""
    from museg.commands.workspace import planned

    for section in planned():
        print(f"\n{section.name}")
        for panel in section.panels:
            print(f"  {panel.title:36} {panel.pattern or ' '.join(panel.keys)}")
    print("\nCompletions: the pictures `timelines` by step, and the last table `completions`")


def save(asked: Arguments) -> int:
    """Save the workspace under the account that `wandb login` left, and print where it is."""
    import wandb
    from wandb.errors import Error

    from museg.commands.workspace import workspace

    try:
        if not wandb.login(prompt=False, verify=False):
            raise ValueError("there is no API key: run `wandb login` or set WANDB_API_KEY")
        view = workspace(asked.entity or wandb.Api().default_entity, asked.project, asked.name)
        print(f"saved: {view.save().url}")
    except (Error, ValueError, OSError) as problem:
        print(f"error: no workspace saved: {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
