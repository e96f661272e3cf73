"""Sampled frames kept on disk: a video or picture is decoded once for all steps, runs, processes and evaluations."""

import functools
import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from museg.data.disk_cache import DiskCache
from museg.files import identity_of, sha256_of, sources_sha256, version_of
from museg.video import budget as frame_budget
from museg.video import decoders, decoding, patches, pictures, sampling
from museg.video.budget import FrameBudget
from museg.video.decoding import Reader, SampledVideo, check_container
from museg.video.pictures import PICTURE_DECODER, check_picture, read_media

CODE_SHA256 = sources_sha256(frame_budget, sampling, decoders, decoding, patches, pictures)
"""Of the code that makes frames of a file: another text of it begins a new set of frames."""
DECIDING_PACKAGES = ("torch", "av", "decord", "pillow")
"""Libraries that decode and resize; another version of one begins a new set of frames."""


@dataclass(frozen=True)
class CachedVideo(SampledVideo):
    """Frames read through a cache."""

    is_from_disk: bool
    """No decoder was asked."""
    trouble: str | None
    """Why the frames could not be kept."""


@dataclass(frozen=True)
class CachedReader:
    """Reads a video or picture like `read_media`, from `cache` where it is kept there; runs in decoding workers.

    The file's content, not its name or its times, says which frames are meant, so a video that changed is decoded
    anew. Links are followed once, before anything is read. The content is read once more after decoding: frames of a
    file that was replaced meanwhile, by itself or with its folder, are not kept, also where it has come back. Which
    decoder reads a video is not part of the key: both give the same bytes (and the same times, but for the rounding of
    decord's to single precision).
    """

    cache: DiskCache

    def __call__(self, path: Path, budget: FrameBudget, decoder: str) -> SampledVideo:
        """The frames as they would be decoded now. Raises UnreadableVideo where that fails."""
        path = Path(os.path.realpath(path))
        before, key = _identity_of(path), _key_of(path, budget, decoder)
        if key is None:
            return read_media(path, budget, decoder)
        payload = self.cache.get(key)
        video = None if payload is None else _unpacked(payload)
        if video is not None:
            return _cached(video, is_from_disk=True)
        video = read_media(path, budget, decoder)
        trouble = None
        if _key_of(path, budget, decoder) == key and _identity_of(path) == before:
            try:
                self.cache.put(key, _packed(video))
            except OSError as error:
                trouble = f"{self.cache.folder}: {error.strerror or error}"
        return _cached(video, is_from_disk=False, trouble=trouble)


def frame_reader(folder: str | Path, max_gib: float) -> Reader:
    """Reads through a cache of `max_gib` GiB in `folder`; decodes always where that is 0."""
    cache = DiskCache.of_gib(folder, max_gib)
    return CachedReader(cache) if cache else read_media


def frames_key(path: Path, budget: FrameBudget, *, is_picture: bool = False) -> str:
    """What decides the frames, as 64 hexadecimal digits. Raises OSError or ValueError for what is no such file.

    A file may be both, as a moving picture: read as a picture it has one frame.
    """
    (check_picture if is_picture else check_container)(path)
    described = {
        "is_picture": is_picture,
        "code": CODE_SHA256,
        "versions": _versions(),
        "budget": asdict(budget),
        "content": sha256_of(path),
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _identity_of(path: Path) -> tuple[int, ...] | None:
    """Which file it is; None for one that is not there."""
    try:
        return identity_of(path)
    except OSError:
        return None


def _key_of(path: Path, budget: FrameBudget, decoder: str) -> str | None:
    """The key, or None for a file that decoding will refuse, with a better reason."""
    try:
        return frames_key(path, budget, is_picture=decoder == PICTURE_DECODER)
    except (OSError, ValueError):
        return None


@functools.cache
def _versions() -> dict[str, str | None]:
    return {package: version_of(package) for package in DECIDING_PACKAGES}


def _cached(video: SampledVideo, *, is_from_disk: bool, trouble: str | None = None) -> CachedVideo:
    return CachedVideo(**_parts(video), is_from_disk=is_from_disk, trouble=trouble)


def _parts(video: SampledVideo) -> dict:
    return {item.name: getattr(video, item.name) for item in fields(SampledVideo)}


def _packed(video: SampledVideo) -> bytes:
    """All of a SampledVideo as safetensors; numbers become arrays without dimensions."""
    return save({name: np.asarray(value, order="C") for name, value in _parts(video).items()})


def _unpacked(payload: bytes) -> SampledVideo | None:
    """The video that `_packed` was given, or None for anything else."""
    try:
        arrays = load(payload)
        return SampledVideo(**{name: array if array.ndim else array.item() for name, array in arrays.items()})
    except (SafetensorError, KeyError, TypeError, ValueError):
        return None
