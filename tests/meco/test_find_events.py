"""From recorded states to segments: each answer is looked up in its own video, in its own seconds."""

from types import SimpleNamespace

import torch

from museg.meco.find_events import find_events
from museg.meco.structure import Kind
from tests.meco.test_located import WHOLE_STEPS, AsTheyAre, X, Y

EVENT_ID, TRANSITION_ID, WORD_ID = 10, 11, 5
VOCABULARY = {Kind.EVENT.value: EVENT_ID, Kind.TRANSITION.value: TRANSITION_ID}
POLICY = SimpleNamespace(
    tokenizer=SimpleNamespace(get_vocab=lambda: VOCABULARY),
    model=SimpleNamespace(config=SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=2))),
)
PROMPTS = SimpleNamespace(
    grid_thw=torch.tensor([[3, 2, 2], [1, 2, 2], [4, 2, 2]]),  # patches: 3, 1 and 4 steps of one merged token
    examples=[SimpleNamespace(media=media) for media in ("video", "image", "video")],
    second_per_grid_ts=torch.tensor([2.0, 0.0, 1.0]),
    filled_steps=(3.0, 0.5, 3.5),
)
ANSWERS = SimpleNamespace(
    completion_ids=torch.tensor([[WORD_ID, EVENT_ID], [EVENT_ID, WORD_ID], [EVENT_ID, EVENT_ID]]),
    completion_mask=torch.tensor([[True, True], [True, True], [True, False]]),
    token_states=torch.tensor([[Y, X], [X, Y], [X, Y]]),
    frame_states=torch.tensor([Y, X, Y, Y, Y, X, X]),
)


def test_each_answer_has_its_own_video():
    first, picture, last = find_events(AsTheyAre(2), POLICY, PROMPTS, ANSWERS, WHOLE_STEPS)
    # an event like the second of three steps of 2 s; nothing in a picture; the last two of four steps of 1 s, the last
    # but half filled, where the second event, behind the answer's end, would have been like the first two
    assert (first.kinds, [one.segment for one in first.segments]) == ((Kind.EVENT,), [(2.0, 4.0)])
    assert (picture.kinds, picture.segments) == ((Kind.EVENT,), ())
    assert (last.kinds, [one.segment for one in last.segments]) == ((Kind.EVENT,), [(2.0, 3.5)])
