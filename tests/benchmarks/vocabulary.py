"""Memory of the language head at the published vocabulary. `python -m tests.benchmarks.log_probs --vocabulary`

The fixed model with 151,936 tokens, a prompt of 384 and 8 completions; forward and backward of their log-probabilities
in float32. Counted is the highest resident size above the loaded model and the inputs:

- head: from hidden states [8 C, hidden] to log-probabilities and back to their gradient. Of it the gradient of the
  weights [151,936, hidden], which every way must make, is 148 MiB, and a chunk of logits 74 MiB.
- at_once: the same with the logits of all completion tokens at one time.
- whole: `shared_prefix_log_probs` on a prompt with a video, so with the decoder's and the tower's activations too.

With longer completions the head may need no more than a longer gradient of the hidden states, which are loaded before
it begins: `growth_beyond_hidden_mib` is what its peak has beyond this and the peak of the shortest completions.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from museg.policy.log_probs import chunked_log_probs, token_log_probs
from museg.policy.shared_prefix import shared_prefix_log_probs
from tests.benchmarks.measure import MIB, SIZES, Shape, comparison, peak_mib
from tests.benchmarks.noise_inputs import made_inputs
from tests.policy.sized_policy import sized_policy

VOCABULARY = 151_936
"""**Source:** config.json of Qwen2.5-VL-3B and 7B, rows of the embedding (padded; 151,665 have a token)."""
SHAPES = [Shape(384, completion, 8) for completion in (64, 128, 256, 512)]


def head(shape: Shape, *, at_once: bool) -> Callable[[], Tensor]:
    """Log-probabilities of random targets after random hidden states, and their gradient."""
    policy = sized_policy(**SIZES | {"vocab_size": VOCABULARY})
    num_tokens, generator = shape.generations * shape.completion, torch.Generator().manual_seed(0)
    hidden = torch.randn(num_tokens, SIZES["hidden_size"], generator=generator).requires_grad_()
    targets = torch.randint(0, VOCABULARY, (num_tokens,), generator=generator)

    def work() -> Tensor:
        if at_once:
            log_probs = token_log_probs(policy.model.lm_head(hidden), targets)
        else:
            log_probs = chunked_log_probs(policy, hidden, targets, None)
        log_probs.sum().backward()
        return hidden.grad

    return work


def in_chunks(shape: Shape) -> Callable[[], Tensor]:
    """The head as training uses it."""
    return head(shape, at_once=False)


def at_once(shape: Shape) -> Callable[[], Tensor]:
    """The head on all completion tokens together."""
    return head(shape, at_once=True)


def whole(shape: Shape) -> Callable[[], None]:
    """Policy forward and backward, from the prompt on."""
    policy = sized_policy(**SIZES | {"vocab_size": VOCABULARY})
    policy.model.train()
    inputs = made_inputs(policy, shape)
    return lambda: shared_prefix_log_probs(policy, *inputs).sum().backward()


def measured(shape: Shape, earlier: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Peaks at one shape; `earlier` rows, shortest completions first, tell what growth begins with."""
    peaks_mib = {"head": peak_mib(in_chunks, shape), "at_once": peak_mib(at_once, shape)}
    values = {
        "whole_peak_mib": peak_mib(whole, shape),
        "weight_gradient_mib": round(4 * VOCABULARY * SIZES["hidden_size"] / MIB, 1),
        "hidden_states_mib": hidden_states_mib(shape),
    }
    row = comparison(f"head, vocabulary {VOCABULARY:,}", shape, ours="head", peaks_mib=peaks_mib, values=values)
    if earlier:
        row["values"]["growth_beyond_hidden_mib"] = growth_beyond_hidden_mib(earlier[0], row)
    print(json.dumps(row), flush=True)
    return row


def hidden_states_mib(shape: Shape) -> float:
    """MiB of the hidden states of all completion tokens in float32; their gradient is as large."""
    return round(4 * shape.generations * shape.completion * SIZES["hidden_size"] / MIB, 1)


def growth_beyond_hidden_mib(short: Mapping[str, Any], long: Mapping[str, Any]) -> float:
    """What the head's peak in a row has beyond that in another, less the growth of the hidden states' gradient."""
    beyond = [row["sides"]["head"]["peak_mib"] - row["values"]["hidden_states_mib"] for row in (short, long)]
    return round(beyond[1] - beyond[0], 1)
