"""Who may import whom: read off the source, imports inside functions included, so that a lazy one is no way around."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT = {
    "files": set(),
    "error_files": set(),
    "targets": set(),
    "temporal": set(),
    "dialogue": {"temporal"},
    "rewards": {"temporal", "dialogue"},
    "phases": set(),
    "video": set(),
    "data": {"temporal", "dialogue", "phases", "video"},
    "policy": {"dialogue", "video", "data"},
    "objectives": set(),
    "meco": {"temporal", "dialogue", "policy"},
    "metrics": {"temporal", "dialogue"},
    "report": {"error_files", "temporal", "metrics"},
}
MAY_IMPORT["evaluation"] = set(MAY_IMPORT) - {"report", "objectives"}
MAY_IMPORT["training"] = set(MAY_IMPORT) - {"report", "evaluation"}
MAY_IMPORT["config"] = {*MAY_IMPORT, "training"}
MAY_IMPORT["commands"] = {*MAY_IMPORT, "training", "config"}
"""Part of museg -> the other parts it may import, besides `files`, which stands below all."""

FOREIGN = {
    "torch": {
        "video",
        "data",
        "policy",
        "objectives",
        "meco",
        "metrics",
        "training",
        "evaluation",
        "config",
        "commands",
    },
    "transformers": {"policy", "training", "config", "commands"},
    "lightning": {"training", "config", "commands"},
    "hydra": {"config", "commands"},
    "omegaconf": {"config", "commands"},
    "torchvision": set(),
    "qwen_vl_utils": set(),
}
"""Library -> the parts of museg that may import it."""

PROCESSORS = ("Processor", "ImageProcessor", "VideoProcessor")
"""Ends of the names of Hugging Face classes that pull torchvision in."""

SOURCES = sorted((ROOT / "museg").rglob("*.py"))


def imported_names(source: str) -> Iterator[str]:
    """Every dotted name that a module imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(part: str, source: str) -> list[str]:
    """The imports that a module of `part` may not have."""
    found = []
    for name in imported_names(source):
        top, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if top == "museg" and other and other not in (part, "files", *MAY_IMPORT[part]):
            found.append(name)
        if part not in FOREIGN.get(top, {part}):
            found.append(name)
        if top == "transformers" and name.endswith(PROCESSORS):
            found.append(name)
    return found


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_point_down(file):
    part = file.relative_to(ROOT / "museg").parts[0].removesuffix(".py")
    if part != "__init__":
        assert violations(part, file.read_text(encoding="utf-8")) == []


def test_the_rule_sees_what_it_forbids():
    assert violations("rewards", "def f():\n    import torch") == ["torch"]
    assert violations("temporal", "from museg.rewards.base import Reward") == ["museg.rewards.base.Reward"]
    assert violations("policy", "from transformers import AutoProcessor") == ["transformers.AutoProcessor"]
    assert violations("metrics", "import lightning.pytorch as pl\nfrom hydra import compose") == [
        "lightning.pytorch",
        "hydra.compose",
    ]
    assert violations("rewards", "from museg.temporal.segments import iou\nimport numpy") == []


def test_every_part_has_its_place():
    parts = {file.relative_to(ROOT / "museg").parts[0].removesuffix(".py") for file in SOURCES} - {"__init__"}
    assert parts <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    "modules",
    [
        [f"museg.{part}" for part in ("temporal", "dialogue", "rewards", "phases")],
        ["museg.config.command_line", "museg.config.validation"],
    ],
    ids=["language", "configuration"],
)
def test_what_must_be_light_loads_nothing_heavy(modules):
    code = (
        "import importlib, pkgutil, sys\n"
        f"for name in {modules}:\n"
        "    module = importlib.import_module(name)\n"
        "    for info in pkgutil.iter_modules(getattr(module, '__path__', [])):\n"
        "        importlib.import_module(f'{name}.{info.name}')\n"
        "print(sorted({'torch', 'transformers', 'lightning', 'scipy', 'decord', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
