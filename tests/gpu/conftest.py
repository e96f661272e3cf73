"""All tests of this folder are marked `gpu`, and skipped without one: no machine promises a GPU, so none lacks it."""

from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU, and this machine has none")


def pytest_collection_modifyitems(items):
    """Mark what stands in this folder."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            item.add_marker(NO_GPU)


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The GPU. Products of float32 matrices are exact there, so that numbers may be compared."""
    torch.set_float32_matmul_precision("highest")
    return torch.device("cuda")
