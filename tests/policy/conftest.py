import pytest

from museg.policy.loading import Policy
from museg.policy.tiny import build_tiny


@pytest.fixture(scope="session")
def policy() -> Policy:
    """A tiny policy with random weights; tests that change weights build their own."""
    return build_tiny(seed=0)


@pytest.fixture
def own_policy() -> Policy:
    """A smaller tiny policy for a test that changes weights or settings."""
    return build_tiny(hidden_size=48, num_layers=2, num_heads=2, intermediate_size=64, seed=1)
