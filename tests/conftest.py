"""What holds for every test: one thread per process, no network, property tests that repeat exactly."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # read when torch is first imported; more threads only wait for each other
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "offline")


def pytest_collection_modifyitems(items):
    """Whole-program walks are what takes time: `make fast` leaves them out, and all the others fill up after them."""
    for item in items:
        if "walks" in item.path.parts or "invariants" in item.path.parts:
            item.add_marker(pytest.mark.slow)
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(scope="session")
def outputs(tmp_path_factory) -> Path:
    """Where small runs keep clips and cold starts, so that each is made once for all of them."""
    return tmp_path_factory.mktemp("outputs")


@pytest.fixture(scope="session", autouse=True)
def wandb_folders(tmp_path_factory):
    """What W&B keeps beside the run folders goes where tests leave things, and not to the user's home."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield
