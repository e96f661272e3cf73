"""Every way of decoding that tests compare, and a step that is rehearsed as before a GPU records it."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from museg.policy.cascade_engine import ON_GPU, ON_PROCESSOR, CascadeEngine, Pace
from museg.policy.plain import PlainEngine

WAYS = {
    "cascade": CascadeEngine(ON_PROCESSOR),
    "cascade as on a GPU": CascadeEngine(ON_GPU),
    "cascade that grows and shrinks": CascadeEngine(Pace(looks_every=3, drop_share=0.0, room_tokens=4)),
    "plain": PlainEngine(),
}
RECORDING = "museg.policy.cascade_engine.recorded"
"""What `rehearsed` takes the place of."""
REHEARSING_WAYS = [name for name in WAYS if name != "plain"]


def rehearsed(work: Callable[[], Any], state: Sequence[Tensor]) -> Callable[[], Any]:
    """Do a step once and put its state back."""
    before = [tensor.clone() for tensor in state]
    work()
    for tensor, value in zip(state, before, strict=True):
        tensor.copy_(value)
    return lambda: work()  # anything but the work itself: a recording, done again whenever shapes change
