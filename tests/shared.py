"""Where the reference data stand that parity tests read, and the rule for a missing part."""

import os
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
ORACLES = SHARED / "oracles"
ANNOTATIONS = SHARED / "data" / "museg"


def unavailable(reason: str) -> None:
    """Skip the calling test for a missing part, or fail it where MUSEG_REQUIRE_ALL=1 promises all of them."""
    if os.environ.get("MUSEG_REQUIRE_ALL") == "1":
        pytest.fail(f"{reason} (MUSEG_REQUIRE_ALL=1 turns this skip into a failure)", pytrace=False)
    pytest.skip(reason)


def require(path: Path) -> Path:
    """Return `path`, or end the test with the reason when it is not on this machine."""
    if not path.exists():
        unavailable(f"{path.name} is not here: expected {path}, recorded reference data kept beside the repository")
    return path
