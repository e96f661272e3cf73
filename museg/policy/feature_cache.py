"""What the vision tower made of a video, kept in memory and on disk for every question about it.

Holds while the tower and its merger keep their weights: across the questions, steps and epochs of a training that
freezes both, across evaluations, and on disk across runs.
"""

import hashlib
import json
import sys
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter

import torch
import transformers
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from museg.data.clips import LoadedClip
from museg.data.disk_cache import DiskCache
from museg.files import sources_sha256
from museg.policy import forward, patch_embedding, vision_attention
from museg.policy.compiled_parts import has_compiled_parts
from museg.policy.loading import Policy
from museg.video import patches
from museg.video.decoding import SampledVideo

CODE_SHA256 = sources_sha256(forward, patch_embedding, vision_attention, patches)
"""Of the code that makes features of frames and weights: another text of it begins a new set of features on disk."""


class FeatureCache:
    """Vision features by frames, on the model's device, as many as fit in `max_mib`; all that were made also on `disk`.

    Each video is encoded by itself, so that its features (and with them the answers) do not depend on which other
    videos stand in the batch, nor on whether they were kept. Frames, not names, say which video is meant. Weights and
    buffers that were changed in place or moved are noticed: what was kept before is not used any more. Writing through
    `weight.data` goes by PyTorch's own count of writes, and by this one.
    """

    def __init__(self, policy: Policy, max_mib: float, disk: DiskCache | None = None) -> None:
        self.policy, self.max_bytes, self.disk = policy, int(max_mib * 2**20), disk
        self.num_encoded = 0
        self._may_write = disk is not None
        self.num_from_disk = 0
        self._num_bytes = 0
        self._features: OrderedDict[str, Tensor] = OrderedDict()
        self._state: object = None
        self._weights_sha256 = ""

    @torch.no_grad()
    def of(self, clips: Sequence[LoadedClip]) -> Tensor:
        """The features [video tokens of all clips, hidden] in the order of `clips`, without gradients."""
        self._forget_if_features_would_differ()
        found: dict[str, Tensor] = {}
        for clip in clips:
            key = clip.video.frames_sha256
            if key not in found:
                found[key] = self._get(key, clip.video)
        return torch.cat([found[clip.video.frames_sha256] for clip in clips])

    def _get(self, key: str, video: SampledVideo) -> Tensor:
        if key in self._features:
            self._features.move_to_end(key)
            return self._features[key]
        features = self._read(key)
        if features is None:
            features = forward.encode_video(self.policy, video)
            self.num_encoded += 1
            self._write(key, features)
        else:
            self.num_from_disk += 1
        self._keep(key, features)
        return features

    def _keep(self, key: str, features: Tensor) -> None:
        """Drop the videos not used for longest; one larger than the whole cache is not kept."""
        if features.nbytes > self.max_bytes:
            return
        self._features[key] = features
        self._num_bytes += features.nbytes
        while self._num_bytes > self.max_bytes:
            _, dropped = self._features.popitem(last=False)
            self._num_bytes -= dropped.nbytes

    def _read(self, key: str) -> Tensor | None:
        payload = None if self.disk is None else self.disk.get(self._disk_key(key))
        if payload is None:
            return None
        try:
            return load(payload)["features"].to(self.policy.device)
        except (SafetensorError, KeyError):
            return None

    def _write(self, key: str, features: Tensor) -> None:
        """Keep features for other runs; where that fails, say so and only read from then on.

        Every process says it for itself, once: on another machine it may be another disk.
        """
        if not self._may_write:
            return
        try:
            self.disk.put(self._disk_key(key), save({"features": features.cpu().contiguous()}))
        except OSError as error:
            told = f"{self.disk.folder}: {error.strerror or error}"
            print(f"warning: vision features are not kept on disk any more: {told}", file=sys.stderr)
            self._may_write = False

    def _disk_key(self, frames_sha256: str) -> str:
        """Everything that decides the features to the last bit, but for the model of the processor or GPU."""
        visual, device = self.policy.model.model.visual, self.policy.device.type
        self._weights_sha256 = self._weights_sha256 or weights_sha256(visual)
        described = {
            "code": CODE_SHA256,
            "frames": frames_sha256,
            "weights": self._weights_sha256,
            "device": device,
            "arithmetic": _arithmetic(device),
            "attention": visual.config._attn_implementation,
            "config": visual.config.to_dict(),
            "compiled": has_compiled_parts(visual),
            "versions": [torch.__version__, transformers.__version__],
        }
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def _forget_if_features_would_differ(self) -> None:
        """Compare places and write counts of the weights, which costs less than a digest at every call."""
        weights = (weight for _, weight in _weights(self.policy.model.model.visual))
        state = [_arithmetic(self.policy.device.type), *((w.data_ptr(), w._version, w.dtype) for w in weights)]
        if state != self._state:
            self._state, self._weights_sha256, self._num_bytes = state, "", 0
            self._features.clear()


def _arithmetic(device: str) -> list[str | int | None]:
    """What decides how sums are rounded: the type under autocast, the precision of float32 products, and, on a
    processor, the threads that share a sum."""
    autocast = str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else None
    return [autocast, torch.get_float32_matmul_precision(), torch.get_num_threads() if device == "cpu" else None]


def _weights(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers with their names, those buffers too that no checkpoint holds (rotary frequencies)."""
    return chain(module.named_parameters(), module.named_buffers())


def weights_sha256(module: nn.Module) -> str:
    """The SHA-256 of a module's weights and buffers: names, types, shapes and values; wherever they lie."""
    digest = hashlib.sha256()
    for name, weight in sorted(_weights(module), key=itemgetter(0)):
        digest.update(f"{name} {weight.dtype} {list(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
