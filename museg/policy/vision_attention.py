"""Vision attention over all windows of one length in a single call.

Transformers' sdpa path calls the kernel once for every window or frame, which costs more than the arithmetic. Windows
are independent sequences without padding, so those of equal length form a batch; the result is the same.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, Qwen2_5_VLForConditionalGeneration

# "flash" in the name makes the vision layers pass the packed sequence and its boundaries instead of splitting it.
BATCHED_WINDOWS = "flashlike_batched_windows"


def use_batched_windows(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Switch the vision tower, and nothing else, to `batched_window_attention`."""
    # The public setter would look for a flash kernel of that name; the property is what the layers read.
    model.model.visual.config._attn_implementation = BATCHED_WINDOWS


def batched_window_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    cu_seq_lens_q: Tensor,
    max_length_q: int,
    scaling: float | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """Attend within windows of a packed sequence: [1, heads, S, width] in, [1, S, heads, width] out.

    `cu_seq_lens_q` [windows + 1] holds the boundaries, `max_length_q` is the longest window. Signature and layout are
    those of transformers' AttentionInterface.
    """
    packed = torch.stack([query[0], key[0], value[0]]).transpose(1, 2)  # [3, S, heads, width]
    if max_length_q * (len(cu_seq_lens_q) - 1) == packed.shape[1]:  # all are as long; no layer waits for a GPU to know
        return _attend(packed, max_length_q, scaling).unsqueeze(0), None
    lengths = cu_seq_lens_q.diff()
    distinct = lengths.unique().tolist()
    starts = cu_seq_lens_q[:-1]
    indices = [
        (starts[lengths == length, None] + torch.arange(length, device=starts.device)).flatten() for length in distinct
    ]
    outputs = [_attend(packed[:, index], length, scaling) for index, length in zip(indices, distinct, strict=True)]
    order = torch.cat(indices).argsort()
    return torch.cat(outputs)[order].unsqueeze(0), None


def _attend(packed: Tensor, length: int, scaling: float | None) -> Tensor:
    """Attend within consecutive windows of `length` tokens: [3, S, heads, width] -> [S, heads, width]."""
    query, key, value = packed.unflatten(1, (-1, length)).transpose(2, 3).unbind(0)  # [windows, heads, length, width]
    return scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2).flatten(0, 1)


AttentionInterface.register(BATCHED_WINDOWS, batched_window_attention)
