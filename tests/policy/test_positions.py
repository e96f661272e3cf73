import pytest
import torch

from museg.policy.positions import prompt_position_ids

VIDEO = 9


def positions(rows, grids, seconds, mask=None):
    ids = torch.tensor(rows)
    mask = torch.ones_like(ids) if mask is None else torch.tensor(mask)
    return prompt_position_ids(ids, mask, torch.tensor(grids), torch.tensor(seconds), video_id=VIDEO)


def test_hand_example():
    # grid 2 x 2 x 4 patches merges to 2 x 1 x 2 tokens; 1.5 s per step at 2 positions a second: times 0 and 3
    position_ids, next_position = positions([[1, 2, *[VIDEO] * 4, 3, 4]], [[2, 2, 4]], [1.5])
    assert position_ids[:, 0].tolist() == [
        [0, 1, 2, 2, 5, 5, 6, 7],  # time; the text goes on after the largest position so far
        [0, 1, 2, 2, 2, 2, 6, 7],  # height
        [0, 1, 2, 3, 2, 3, 6, 7],  # width
    ]
    assert next_position.tolist() == [8]


def test_time_is_cut_to_whole_positions():
    # 0.7 s per step x 2 = 1.4 positions: 0, 1.4, 2.8, 4.2
    position_ids, _ = positions([[*[VIDEO] * 4]], [[4, 2, 2]], [0.7])
    assert position_ids[0, 0].tolist() == [0, 1, 2, 4]


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_does_not_move_a_prompt(side):
    short, long = [1, VIDEO, 2], [1, 1, VIDEO, VIDEO, 1]
    padding = [0, 0]
    rows = [padding + short if side == "left" else short + padding, long]
    mask = [[0, 0, 1, 1, 1] if side == "left" else [1, 1, 1, 0, 0], [1] * 5]
    position_ids, next_position = positions(rows, [[1, 2, 2], [2, 2, 2]], [1.0, 1.0], mask)
    alone, next_alone = positions([short], [[1, 2, 2]], [1.0])
    kept = torch.tensor(mask[0]).bool()
    assert torch.equal(position_ids[:, 0, kept], alone[:, 0])
    assert position_ids[:, 0, ~kept].eq(1).all()
    assert next_position[0] == next_alone[0]


def test_two_videos_in_one_prompt():
    position_ids, next_position = positions([[1, VIDEO, VIDEO, 2, VIDEO, 3]], [[2, 2, 2], [1, 2, 2]], [1.0, 5.0])
    assert position_ids[0, 0].tolist() == [0, 1, 3, 4, 5, 6]
    assert next_position.tolist() == [7]


def test_placeholders_and_grids_must_fit():
    with pytest.raises(ValueError, match=r"prompt 0: 3 visual tokens.*\(2, 1, 1\)"):
        positions([[1, VIDEO, VIDEO, VIDEO]], [[2, 2, 2]], [1.0])
    with pytest.raises(ValueError, match="prompt 1 holds a video or picture without a grid"):
        positions([[1, VIDEO], [1, VIDEO]], [[1, 2, 2]], [1.0])
    with pytest.raises(ValueError, match="more grids than videos"):
        positions([[1, VIDEO]], [[1, 2, 2], [1, 2, 2]], [1.0, 1.0])
    with pytest.raises(ValueError, match="1 grids but 2 second_per_grid_ts"):
        positions([[1, VIDEO]], [[1, 2, 2]], [1.0, 1.0])
