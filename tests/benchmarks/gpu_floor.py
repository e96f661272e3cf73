"""What the parts of a step cost at least, in arithmetic and in bytes moved, counted from sizes alone.

Shapes: B prompts; G generations of each; P prompt tokens; C completion tokens, of which C - 1 are read.

Counted are products of matrices, where a multiplication and its addition are two operations, and the weights, keys and
values that a decoded token cannot do without. Norms, rotations, activations and biases are left out: they are less than
a hundredth of the arithmetic, but they take time, so nothing quite reaches the floor.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from museg.policy.sizes import DecoderSizes, TowerSizes

ADAMW_PASSES = 7
"""Tensors of the weights' size that a step moves: weight, gradient and two moments in; weight and moments out."""
CLIPPING_PASSES = 3
"""The same for clipping: the gradient in for its norm; in and out to be scaled."""


@dataclass(frozen=True)
class Peaks:
    """What a device was measured to do: operations and bytes per second."""

    flops_per_s: float
    bytes_per_s: float


@dataclass(frozen=True)
class Work:
    """Arithmetic and bytes that cannot do without each other's time: the longer of the two is the floor.

    `repeated_flops` are those among `flops` that checkpointing does a second time.
    """

    flops: float = 0
    moved_bytes: float = 0
    repeated_flops: float = 0

    def times(self, count: float, repeated: float = 0) -> "Work":
        """The arithmetic `count` times, of which `repeated` times are repetitions."""
        return replace(self, flops=count * self.flops, repeated_flops=repeated * self.flops)


def floor_s(works: Iterable[Work], peaks: Peaks) -> float:
    """Seconds that pieces of work take at least, one after the other."""
    return sum(max(work.flops / peaks.flops_per_s, work.moved_bytes / peaks.bytes_per_s) for work in works)


class Decoder(DecoderSizes):
    """The language model's work."""

    def read(self, tokens: int, pairs: int) -> Work:
        """Reading tokens of which `pairs` see each other, the head left out."""
        return Work(flops=2 * self.weights * tokens + 4 * self.layers * self.hidden * pairs)

    def head(self, tokens: int) -> Work:
        """Logits of tokens."""
        return Work(flops=2 * self.head_weights * tokens)


def causal_pairs(tokens: int) -> int:
    """Pairs of tokens of which the second sees the first, or itself."""
    return tokens * (tokens + 1) // 2


def shared_reading(decoder: Decoder, prompt: int, read: int, generations: int) -> Work:
    """A prompt once, and of each of its completions `read` tokens that see the prompt and their own past."""
    pairs = causal_pairs(prompt) + generations * (read * prompt + causal_pairs(read))
    return decoder.read(prompt + generations * read, pairs)


def repeated_reading(decoder: Decoder, prompt: int, read: int, generations: int) -> Work:
    """The same with the prompt forwarded for every completion."""
    tokens = prompt + read
    return decoder.read(generations * tokens, generations * causal_pairs(tokens))


class Tower(TowerSizes):
    """The vision tower's work."""

    def forward(self, grid: Sequence[int]) -> Work:
        """Reading a video of so many patches in time, height and width.

        A frame pair sees itself: within windows in most layers, as a whole in `full_layers`.
        """
        steps, height, width = grid
        patches = steps * height * width
        full_pairs = steps * (height * width) ** 2
        window_pairs = steps * _squares(height, self.window) * _squares(width, self.window)
        pairs = self.full_layers * full_pairs + (self.depth - self.full_layers) * window_pairs
        of_a_patch = self.patch_values * self.hidden + self.depth * (4 * self.hidden**2 + 3 * self.hidden * self.ffn)
        merged = self.hidden * self.merge**2
        of_a_token = merged**2 + merged * self.out
        flops = 2 * patches * of_a_patch + 4 * self.hidden * pairs + 2 * patches // self.merge**2 * of_a_token
        return Work(flops=flops)


def _squares(length: int, window: int) -> int:
    """The sum of the squared lengths of windows that a length is cut into; the last may be shorter."""
    whole, rest = divmod(length, window)
    return whole * window**2 + rest**2


def decoding_step(decoder: Decoder, prompts: int, generations: int, prompt: int, own: int, value_bytes: int) -> Work:
    """One more token for every row, which has read `prompt` and `own` tokens.

    Weights pass once for all rows, what is kept of a prompt once for its generations, of a row's own tokens for itself.
    """
    rows, weights = prompts * generations, decoder.weights + decoder.head_weights
    cached = decoder.cached_values * (prompts * prompt + rows * own)
    flops = 2 * weights * rows + 4 * decoder.layers * decoder.hidden * rows * (prompt + own)
    return Work(flops=flops, moved_bytes=value_bytes * (weights + cached))


def optimizer_step(num_parameters: int, value_bytes: int) -> Work:
    """Clipping the gradient, then AdamW."""
    return Work(moved_bytes=(CLIPPING_PASSES + ADAMW_PASSES) * value_bytes * num_parameters)
