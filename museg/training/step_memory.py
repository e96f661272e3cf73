"""Bytes that a step of training holds beside weights and their company, counted from sizes alone.

Shapes: B prompts that are sampled together; b of them in one backward pass; P prompt tokens; N patches of a prompt's
video; G completions of C tokens; S tokens of the packed row; V vocabulary.

Counted are the tensors that our code and the library's layers make on a processor. Tests hold this against what
autograd keeps, to the byte, and against the most that is alive at one time. No GPU was at hand to compare with: its
attention keeps the same tensors and makes fewer in between.
"""

from dataclasses import dataclass

from museg.policy.log_probs import CHUNK_TOKENS, GPU_CHUNK_TOKENS, LOGITS_PER_CHUNK
from museg.policy.sizes import DecoderSizes, TowerSizes

FLOAT32_BYTES = 4
PATCHES_PER_TOKEN = 4
"""Patches of a video that the merger makes one token of."""
CHOOSER_COPIES = 4
"""Arrays of all logits that sampling a token has at one time: logits, probabilities, tempered ones, their blocks."""


@dataclass(frozen=True)
class Arithmetic:
    """Bytes of a number between the layers, and of one that enters a matrix product; autocast makes these differ."""

    stream: int
    product: int

    @property
    def is_cast(self) -> bool:
        """Whether what enters a product is a copy."""
        return self.product < self.stream


FLOAT32, AUTOCAST, BFLOAT16 = Arithmetic(4, 4), Arithmetic(4, 2), Arithmetic(2, 2)


@dataclass(frozen=True)
class Load:
    """What one process has to do in a step, at its largest.

    Attributes:
        prompts: sampled together.
        micro_batch_prompts: of these in one backward pass.
        held_out_prompts: answered together while validating, once each.
        shares_prompts: whether a prompt is forwarded, and held, once for all its completions: in training, in rollouts.
    """

    prompts: int
    micro_batch_prompts: int
    held_out_prompts: int
    prompt_tokens: int
    patches: int
    generations: int
    completion_tokens: int
    shares_prompts: bool = True
    shares_cache: bool = True

    @property
    def row_tokens(self) -> int:
        """Tokens that a backward pass forwards, S; nothing is read of a completion's last token."""
        read = self.completion_tokens - 1
        if self.shares_prompts:
            return self.micro_batch_prompts * (self.prompt_tokens + self.generations * read)
        return self.micro_batch_prompts * self.generations * (self.prompt_tokens + read)

    @property
    def scored_tokens(self) -> int:
        """Completion tokens of a backward pass."""
        return self.micro_batch_prompts * self.generations * self.completion_tokens


@dataclass(frozen=True)
class Shape:
    """A model and how it computes.

    `trains_tower`, `trains_merger`: whether these parts of the vision side learn; where neither does, features are made
    beforehand and handed in.
    """

    decoder: DecoderSizes
    tower: TowerSizes
    arithmetic: Arithmetic
    checkpointing: bool
    trains_tower: bool = True
    trains_merger: bool = True
    is_on_gpu: bool = False

    @property
    def sees_anew(self) -> bool:
        """Whether videos go through the tower in every forward pass."""
        return self.trains_tower or self.trains_merger

    @property
    def chunk_tokens(self) -> int:
        """Tokens whose logits exist at one time in training."""
        least = GPU_CHUNK_TOKENS if self.is_on_gpu else CHUNK_TOKENS
        return max(LOGITS_PER_CHUNK // self.decoder.vocabulary, least)


def kept_by_layer(shape: Shape) -> int:
    """What autograd keeps of one token in one layer of the decoder."""
    d, a = shape.decoder, shape.arithmetic
    norms = 2 * d.hidden * (FLOAT32_BYTES + a.stream)  # the input of each in float32, and the result before its weight
    inputs = d.hidden * a.product * (5 if a.is_cast else 2)  # of projections: autocast copies them for each of five
    attention = 2 * a.product * (d.hidden + d.key_width)  # queries, keys, values, result
    sums = FLOAT32_BYTES * (2 + d.heads)  # of the norms and the attention
    return norms + inputs + attention + sums + 4 * a.product * d.ffn


def kept_by_block(shape: Shape) -> int:
    """What autograd keeps of one patch in one block of the vision tower."""
    t, a = shape.tower, shape.arithmetic
    norms = 2 * t.hidden * (FLOAT32_BYTES + a.stream)
    inputs = t.hidden * a.product * (3 if a.is_cast else 2)
    attention = t.hidden * a.product * 5  # queries, keys, values, result, result by patch
    sums = FLOAT32_BYTES * (2 + t.heads)
    return norms + inputs + attention + sums + 4 * a.product * t.ffn


def kept_by_merger(shape: Shape) -> int:
    """What autograd keeps of one patch in the merger behind the tower: a norm and three steps of as many numbers."""
    t, a = shape.tower, shape.arithmetic
    return t.hidden * (FLOAT32_BYTES + a.stream + 3 * a.product) + FLOAT32_BYTES


def worked_on_by_layer(shape: Shape) -> int:
    """The most that one token of a layer needs at one time in a forward pass that keeps nothing."""
    d, a = shape.decoder, shape.arithmetic
    rotated = FLOAT32_BYTES * (d.hidden + d.key_width) if a.is_cast else 0
    sums = FLOAT32_BYTES * d.hidden * (2 if a.product < FLOAT32_BYTES else 1)
    # queries, keys and values twice, then those of a call with its result, all heads spelt out
    attention = rotated + 2 * a.product * (d.hidden + 2 * d.key_width) + 4 * a.product * d.hidden + sums
    feed_forward = 3 * a.product * d.ffn
    return 3 * a.stream * d.hidden + max(attention, feed_forward)


def worked_on_by_block(shape: Shape) -> int:
    """The same for one patch of a block of the tower."""
    t, a = shape.tower, shape.arithmetic
    rotated = FLOAT32_BYTES * t.hidden * (4 if a.product == FLOAT32_BYTES else 6)
    attention = 3 * a.product * t.hidden + rotated
    return 3 * a.stream * t.hidden + max(attention, 3 * a.product * t.ffn)


def pixels(shape: Shape, prompts: int, load: Load) -> int:
    """Patches of that many prompts, which travel in float32; their features where they are made beforehand."""
    if shape.sees_anew:
        return prompts * load.patches * shape.tower.patch_values * FLOAT32_BYTES
    return prompts * load.patches // shape.tower.merge**2 * shape.decoder.hidden * FLOAT32_BYTES


def seeing(shape: Shape, prompts: int, load: Load) -> int:
    """The most that reading the videos of so many prompts needs without keeping anything."""
    if not shape.sees_anew:
        prompts = 1  # features are made clip by clip
    return prompts * load.patches * worked_on_by_block(shape)


def kept_by_layers(shape: Shape, load: Load) -> int:
    """What autograd keeps of a micro-batch in the layers of decoder and tower, until their backward passes."""
    d, t, a = shape.decoder, shape.tower, shape.arithmetic
    row, patches = load.row_tokens, load.micro_batch_prompts * load.patches
    layer = a.stream * d.hidden if shape.checkpointing else kept_by_layer(shape)
    kept = row * (d.layers * layer + 2 * a.stream * d.hidden // d.heads)  # and cosines and sines
    if shape.trains_tower:
        block = a.stream * t.hidden if shape.checkpointing else kept_by_block(shape)
        kept += patches * (t.depth * block + 2 * FLOAT32_BYTES * t.hidden // t.heads)
    if shape.sees_anew:
        kept += patches * kept_by_merger(shape) + row * d.hidden  # which places take features, one byte a number
    return kept


def kept_behind_layers(shape: Shape, load: Load) -> int:
    """The same behind the last layer: its norm, the places that are scored, logits where they fit into one chunk."""
    d, a = shape.decoder, shape.arithmetic
    normed = load.row_tokens * d.hidden * (FLOAT32_BYTES + 2 * a.stream)
    return normed + load.scored_tokens * d.hidden * a.stream + kept_by_head(shape, load)


def kept_by_head(shape: Shape, load: Load) -> int:
    """Logits that are kept where they fit into one chunk; otherwise they are made again."""
    if load.scored_tokens > shape.chunk_tokens:
        return 0
    return load.scored_tokens * shape.decoder.vocabulary * FLOAT32_BYTES


def scoring(shape: Shape, load: Load) -> int:
    """The most that the head's backward pass needs: logits of a chunk, the gradient of its weights, casts of these."""
    d, a = shape.decoder, shape.arithmetic
    if load.scored_tokens <= shape.chunk_tokens:
        return 2 * load.scored_tokens * d.vocabulary * FLOAT32_BYTES
    casts = 2 * d.head_weights * a.product if a.is_cast else 0
    of_chunk = shape.chunk_tokens * d.vocabulary * (FLOAT32_BYTES + a.product)
    return of_chunk + d.head_weights * a.stream + casts


def updating(shape: Shape, load: Load) -> int:
    """The most that forward and backward of one micro-batch hold, the prompts of the whole step included.

    The reference is asked while everything is kept for the policy; then come the head's backward pass, that of the last
    layer and that of the last block, each with what checkpointing makes again.
    """
    layers, behind = kept_by_layers(shape, load), kept_behind_layers(shape, load)
    inputs = pixels(shape, load.prompts, load) + pixels(shape, load.micro_batch_prompts, load)
    forward = layers + behind + forwarding(shape, load)
    head = layers + behind + scoring(shape, load)
    last = layers + turning_back(shape, load)
    return inputs + max(forward, head, last)


def forwarding(shape: Shape, load: Load) -> int:
    """The most that a forward pass over a micro-batch needs without keeping anything."""
    d, a = shape.decoder, shape.arithmetic
    logits = 2 * min(load.scored_tokens, shape.chunk_tokens) * d.vocabulary * FLOAT32_BYTES
    videos = seeing(shape, load.micro_batch_prompts, load) if shape.sees_anew else 0
    return max(load.row_tokens * worked_on_by_layer(shape), load.row_tokens * a.stream * d.hidden + logits, videos)


def turning_back(shape: Shape, load: Load) -> int:
    """What the backward pass of one layer, or of one block of the tower, needs beside what is kept."""
    d, t, a = shape.decoder, shape.tower, shape.arithmetic
    layer = 2 * a.product * d.ffn + 2 * a.stream * d.hidden
    block = 2 * a.product * t.ffn + 2 * a.stream * t.hidden
    if shape.checkpointing:  # forwarded a second time, from an input that is kept already
        layer += kept_by_layer(shape) - a.stream * d.hidden
        block += kept_by_block(shape) - a.stream * t.hidden
    patches = load.micro_batch_prompts * load.patches if shape.trains_tower else 0
    return max(load.row_tokens * layer, patches * block)


def cached(shape: Shape, prompts: int, generations: int, load: Load) -> int:
    """Keys and values of so many prompts and of so many completions of each."""
    own = generations * load.completion_tokens
    read = load.prompt_tokens if load.shares_cache else generations * load.prompt_tokens
    return prompts * (read + own) * shape.decoder.cached_values * shape.arithmetic.product


def sampling(shape: Shape, prompts: int, generations: int, load: Load) -> int:
    """The most that sampling so many completions of so many prompts holds, `cached` included."""
    d, a = shape.decoder, shape.arithmetic
    prompt_cache = prompts * load.prompt_tokens * d.cached_values * a.product
    reading = prompt_cache + prompts * load.prompt_tokens * worked_on_by_layer(shape)
    rows, tokens = prompts * generations, load.prompt_tokens + load.completion_tokens
    of_token = CHOOSER_COPIES * d.vocabulary * FLOAT32_BYTES + 3 * d.heads * tokens * FLOAT32_BYTES
    writing = cached(shape, prompts, generations, load) + rows * of_token
    return pixels(shape, prompts, load) + max(seeing(shape, prompts, load), reading, writing)
