"""What the extras of setup.cfg hold can be installed by the commands that are given for them."""

import configparser
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TELLING = ("README.md", "launchers/README.md", "museg/config/rules.py", "museg/config/evaluation_rules.py")


def test_what_needs_torch_to_be_built_is_installed_after_torch():
    """pip builds in an environment of its own, without torch, unless it is told not to."""
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    extras = setup["options.extras_require"]
    assert [name for name, packages in extras.items() if "flash-attn" in packages] == ["flash"]
    commands = [line for file in TELLING for line in (ROOT / file).read_text().splitlines() if "pip install -e" in line]
    asked = [set(re.search(r"\[([\w,]+)\]", line)[1].split(",")) for line in commands if ".[" in line]
    assert {"flash"} in asked and set().union(*asked) <= set(extras)
    assert all("--no-build-isolation" in line for line in commands if "flash" in line)
