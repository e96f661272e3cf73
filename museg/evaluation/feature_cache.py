"""What the vision tower made of the videos used last, so that several questions on one video share it."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from museg.data.clips import LoadedClip
from museg.policy.forward import encode_video
from museg.policy.loading import Policy


class FeatureCache:
    """Vision features by video, on the model's device, as many as fit in `max_mib`.

    Each video is encoded by itself, so that its features (and with them the answers) do not depend on which other
    videos stand in the batch, nor on whether they were kept.
    """

    def __init__(self, policy: Policy, max_mib: float) -> None:
        self.policy, self.max_bytes = policy, int(max_mib * 2**20)
        self.num_encoded = 0
        self._num_bytes = 0
        self._features: OrderedDict[str, Tensor] = OrderedDict()

    def of(self, clips: Sequence[LoadedClip]) -> Tensor:
        """The features [video tokens of all clips, hidden] in the order of `clips`; call without gradients."""
        found: dict[str, Tensor] = {}
        for clip in clips:
            if clip.example.video not in found:
                found[clip.example.video] = self._get(clip)
        return torch.cat([found[clip.example.video] for clip in clips])

    def _get(self, clip: LoadedClip) -> Tensor:
        video = clip.example.video
        if video in self._features:
            self._features.move_to_end(video)
            return self._features[video]
        self.num_encoded += 1
        features = encode_video(self.policy, clip.video)
        self._keep(video, features)
        return features

    def _keep(self, video: str, features: Tensor) -> None:
        """Drop the videos not used for longest; one larger than the whole cache is not kept."""
        if features.nbytes > self.max_bytes:
            return
        self._features[video] = features
        self._num_bytes += features.nbytes
        while self._num_bytes > self.max_bytes:
            _, dropped = self._features.popitem(last=False)
            self._num_bytes -= dropped.nbytes
