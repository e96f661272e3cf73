"""Keys and values of a rollout: made once per prompt, repeated for its generations, without rows that have finished."""

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin

GROW_TOKENS = 64


class RolloutCacheLayer(CacheLayerMixin):
    """One layer's keys and values [rows, heads, tokens, width], kept in buffers with room to spare.

    Concatenating, as the library's growing cache does, copies everything at every token. Keys are kept in the dtype of
    the values: under autocast the rotation leaves them in float32, which attention would round at every token anyway.
    """

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Start with empty buffers for the shapes of the given states."""
        self.keys, self.values = (states[:, :, :0] for states in (key_states, value_states))
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Append states [rows, heads, new, width] and return all so far."""
        key_states = key_states.to(value_states.dtype)
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.length + key_states.shape[2]
        if end > self.keys.shape[2]:
            self.keys, self.values = (self._grown(buffer, end + GROW_TOKENS) for buffer in (self.keys, self.values))
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def take(self, rows: Tensor) -> None:
        """Keep the given rows, which may repeat."""
        self.keys, self.values = (buffer[:, :, : self.length][rows] for buffer in (self.keys, self.values))

    def _grown(self, buffer: Tensor, capacity: int) -> Tensor:
        rows, heads, _, width = buffer.shape
        grown = buffer.new_empty(rows, heads, capacity, width)
        grown[:, :, : self.length] = buffer[:, :, : self.length]
        return grown

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return how many keys a query of that length sees, and their offset."""
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        """Return the number of tokens held."""
        return self.length

    def get_max_length(self) -> int:
        """Return -1: there is no limit."""
        return -1


def rollout_cache(num_layers: int) -> Cache:
    """Return an empty cache for a decoder of `num_layers` layers."""
    return Cache(layers=[RolloutCacheLayer() for _ in range(num_layers)])


def take_rows(cache: Cache, rows: Tensor) -> None:
    """Keep the given rows of every layer; repeats copy a row."""
    for layer in cache.layers:
        layer.take(rows)


def repeat_rows(cache: Cache, times: int) -> None:
    """Repeat every row `times` times, copies next to each other."""
    first = cache.layers[0].keys
    take_rows(cache, torch.arange(len(first), device=first.device).repeat_interleave(times))
