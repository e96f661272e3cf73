import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from museg.video.patches import CLIP_MEAN, CLIP_STD, patchify, resize_frames


def drawn(num_frames: int, height: int, width: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (num_frames, 3, height, width), generator=generator, dtype=torch.uint8)


def test_every_value_lands_where_the_vision_tower_expects_it():
    frames = drawn(4, 56, 84)
    rows, (t, h, w) = patchify(frames)
    assert (t, h, w) == (2, 4, 6)
    assert rows.shape == (48, 1176)
    assert rows.dtype == torch.float32
    # Spelt out: rows run t, block y, block x, y in block, x in block; a row holds channel, frame, pixel y, pixel x.
    places = [
        (pair, 2 * by + y, 2 * bx + x)
        for pair in range(2)
        for by in range(2)
        for bx in range(3)
        for y in range(2)
        for x in range(2)
    ]
    for row, (pair, y, x) in zip(rows, places, strict=True):
        patch = frames[2 * pair : 2 * pair + 2, :, 14 * y : 14 * y + 14, 14 * x : 14 * x + 14].double() / 255
        expected = (patch - torch.tensor(CLIP_MEAN).view(1, 3, 1, 1)) / torch.tensor(CLIP_STD).view(1, 3, 1, 1)
        torch.testing.assert_close(row.view(3, 2, 14, 14), expected.transpose(0, 1).float(), atol=1e-6, rtol=0)


@pytest.mark.parametrize("shape", [(2, 56, 28), (7, 28, 84), (64, 112, 196)])
def test_the_order_of_operations_changes_no_bit(shape):
    num_frames, height, width = shape
    frames = drawn(num_frames, height, width)
    paired = torch.cat([frames, frames[-1:]]) if num_frames % 2 else frames
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    normalised = (paired.float() / 255 - mean) / std  # first numbers, then order
    blocks = normalised.view(-1, 2, 3, height // 28, 2, 14, width // 28, 2, 14)
    expected = blocks.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 1176)
    assert torch.equal(patchify(frames)[0], expected)


def test_frames_are_left_as_they_are():
    frames = drawn(3, 28, 56)
    before = frames.clone()
    patchify(frames)
    assert torch.equal(frames, before)


class OnOneDevice(TorchDispatchMode):
    """Notes operations whose tensors lie on different devices."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed: list[str] = []

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        devices = {value.device for value in arguments if isinstance(value, torch.Tensor)}
        if len(devices) > 1:
            self.mixed.append(str(operation))
        return operation(*arguments, **(options or {}))


def test_everything_happens_on_the_device_of_the_frames():
    """No GPU is needed to see a tensor of another device; the meta device has shapes and no values."""
    frames = torch.empty(5, 3, 56, 28, dtype=torch.uint8, device="meta")
    with OnOneDevice() as watch:
        rows, grid = patchify(frames)
        assert not watch.mixed
        rows.view(24, 3, -1).sub_(torch.tensor(CLIP_MEAN)[:, None])
    assert len(watch.mixed) == 1  # it sees what it is there for
    assert (rows.device.type, rows.dtype, rows.shape, grid) == ("meta", torch.float32, (24, 1176), (3, 4, 2))


def test_odd_last_frame_is_repeated():
    frames = drawn(3, 28, 28)
    rows, grid = patchify(frames)
    repeated, same_grid = patchify(torch.cat([frames, frames[-1:]]))
    assert grid == same_grid == (2, 2, 2)
    assert torch.equal(rows, repeated)


def test_arrays_and_tensors_give_the_same():
    frames = drawn(2, 28, 56)
    assert torch.equal(patchify(frames)[0], patchify(frames.numpy())[0])


@pytest.mark.parametrize("shape", [(2, 3, 28, 30), (2, 3, 14, 28), (0, 3, 28, 28), (2, 1, 28, 28)])
def test_frames_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match="multiple of 28"):
        patchify(np.zeros(shape, np.uint8))


def test_resizing_to_the_same_size_changes_nothing():
    frames = drawn(2, 28, 28)
    assert torch.equal(resize_frames(frames, 28, 28), frames)


def test_resizing_keeps_flat_colour_and_whole_levels():
    frames = torch.tensor([10, 128, 250], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 40, 60)
    resized = resize_frames(frames, 28, 56)
    assert resized.shape == (2, 3, 28, 56)
    assert resized.dtype == torch.uint8
    assert torch.equal(resized, frames[..., :1, :1].expand(2, 3, 28, 56))


def test_overshoot_of_the_cubic_is_clamped():
    edge = torch.zeros(1, 3, 28, 28, dtype=torch.uint8)
    edge[..., 14:] = 255
    resized = resize_frames(edge, 56, 56)
    # bicubic overshoots beside the edge; without the clamp those levels would wrap around
    assert resized[..., :24].max() == 0
    assert resized[..., 32:].min() == 255
