"""The vision tower's first layer as the matrix product that it is.

Its kernel covers a patch and moves by whole patches, so every output is one product with the whole patch; as a
convolution over single patches it takes three times as long on a processor.
"""

from torch import Tensor
from torch.nn.functional import linear
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VisionPatchEmbed


class LinearPatchEmbed(Qwen2_5_VisionPatchEmbed):
    """The library's layer, weights and all, without its convolution."""

    def forward(self, hidden_states: Tensor) -> Tensor:
        """From patches [patches, 1176] to [patches, vision hidden]."""
        weight = self.proj.weight.flatten(1)
        return linear(hidden_states.to(weight.dtype), weight)


def use_linear_patches(model: Qwen2_5_VLForConditionalGeneration) -> None:
    """Let the tower of `model` multiply; the class is changed, so that copies of the model do the same."""
    model.model.visual.patch_embed.__class__ = LinearPatchEmbed
