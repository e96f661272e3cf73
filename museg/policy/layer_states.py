"""Hidden states between the decoder's layers, caught as it runs, without keeping those of all layers.

Shapes: R rows; L tokens that the decoder was given of each.

Layers count from the end as in the library's `hidden_states`: -2 is what the last layer reads, -3 what the one before
it reads. -1 is what the final norm reads, which the library never shows: its own -1 lies behind the norm.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from museg.policy.loading import Policy


@contextmanager
def captured_states(policy: Policy, layers: Iterable[int]) -> Iterator[Mapping[int, Tensor]]:
    """Within this context every run of the decoder leaves the states [R, L, hidden] of `layers` in what is yielded.

    They are those of the latest run, as they lie in its graph: gradients go through them. A layer that runs by itself
    is not seen, be it called or recomputed in a backward pass; so `museg.policy.prefill` is not either.

    Raises ValueError for a layer that the decoder does not have.
    """
    decoder = policy.model.model.language_model
    readers = {layer: reader_of(decoder, layer) for layer in layers}
    states: dict[int, Tensor] = {}
    is_running = False

    def begin(*_: Any) -> None:
        nonlocal is_running
        states.clear()
        is_running = True

    def end(*_: Any) -> None:
        nonlocal is_running
        is_running = False

    def keeping(layer: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def keep(_: nn.Module, read: tuple[Tensor, ...]) -> None:
            # some versions of the library run these hooks again as they recompute a layer
            if is_running:
                states[layer] = read[0]

        return keep

    with ExitStack() as hooks:
        hooks.enter_context(decoder.register_forward_pre_hook(begin))
        hooks.enter_context(decoder.register_forward_hook(end, always_call=True))  # errors end a run too
        for layer, reader in readers.items():
            hooks.enter_context(reader.register_forward_pre_hook(keeping(layer)))
        yield states


def reader_of(decoder: nn.Module, layer: int) -> nn.Module:
    """The module that reads the states of `layer`; raises ValueError where the decoder has none."""
    readers = [*decoder.layers, decoder.norm]
    if not -len(readers) <= layer <= -1:
        raise ValueError(
            f"layer={layer} must be between {-len(readers)} (what the first of the decoder's {len(decoder.layers)} "
            "layers reads) and -1 (what the final norm reads)"
        )
    return readers[layer]
