from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from museg.video.synthetic_layout import SyntheticSettings, clip_generator, draw_layout
from museg.video.synthetic_words import COLOURS_RGB, MOTIONS, SHAPES, SYNTHETIC_WORDS

DEFAULT = SyntheticSettings()
MANY = SyntheticSettings(
    num_frames=64,
    num_colours=6,
    num_shapes=3,
    num_motions=4,
    num_kinds=4,
    max_target_segments=4,
    max_distractors=4,
    queries_per_clip=4,
)
OVERLAPPING = replace(DEFAULT, overlapping=True, min_object_px=12, max_object_px=14)


def layouts(settings, split="train", count=300):
    return [draw_layout(settings, split, clip_generator(settings, split, index)) for index in range(count)]


@pytest.mark.parametrize("settings", [DEFAULT, MANY])
def test_one_object_is_visible_at_a_time_with_pauses_between(settings):
    for layout in layouts(settings):
        ordered = sorted(layout.events, key=lambda event: event.start_s)
        assert ordered[0].start_s >= 0
        assert ordered[-1].end_s <= settings.duration_s
        assert all(event.end_s - event.start_s >= settings.min_length_s for event in ordered)
        assert all(event.end_s - event.start_s <= settings.max_length_s for event in ordered)
        assert all(second.start_s - first.end_s >= settings.min_gap_s for first, second in pairwise(ordered))


@pytest.mark.parametrize("settings", [DEFAULT, MANY, OVERLAPPING])
def test_true_segments_are_the_events_of_the_object_asked_for(settings):
    for layout in layouts(settings):
        for question in layout.questions:
            asked = question.problem.split("'")[1].split()
            shown = {
                (float(event.start_s), float(event.end_s))
                for event in layout.events
                if {event.kind.colour, event.kind.shape} <= set(asked)
                and (settings.num_motions == 1 or event.kind.motion in asked)
            }
            assert question.solution == [list(span) for span in sorted(shown)]
            assert question.task == ("tvg" if len(shown) == 1 else "tal")


def test_questions_about_a_clip_name_different_objects():
    for layout in layouts(DEFAULT):
        problems = [question.problem.split("'")[1] for question in layout.questions]
        assert 1 <= len(problems) == len(set(problems)) <= 2


def test_targets_come_in_every_number_about_equally_often():
    counts = Counter(len(layout.questions[0].solution) for layout in layouts(DEFAULT, count=900))
    assert set(counts) == {1, 2, 3}
    # 300 of each expected, standard deviation 14
    assert all(230 <= count <= 370 for count in counts.values())


def test_held_out_clips_carry_one_question_and_share_no_layout_stream_with_training():
    held_out, train = layouts(DEFAULT, "held_out", 100), layouts(DEFAULT, "train", 100)
    assert all(len(layout.questions) == 1 for layout in held_out)
    assert sum(layout.events in {other.events for other in train} for layout in held_out) == 0


def test_every_kind_asked_for_when_held_out_is_trained_on():
    def kinds(split, count):
        return {layout.questions[0].problem.split("'")[1] for layout in layouts(DEFAULT, split, count)}

    assert kinds("train", 400) == kinds("held_out", 400)
    assert len(kinds("train", 400)) == 4 * 2


def test_clip_does_not_depend_on_the_number_of_clips():
    assert layouts(DEFAULT, count=5) == layouts(replace(DEFAULT, num_train_clips=7), count=9)[:5]
    assert layouts(DEFAULT, count=5) != layouts(replace(DEFAULT, seed=1), count=5)


def test_each_half_shows_one_object_at_a_time():
    for layout in layouts(OVERLAPPING):
        lanes = [[event for event in layout.events if event.lane == lane] for lane in (0, 1)]
        assert abs(len(lanes[0]) - len(lanes[1])) <= 1
        assert all(
            second.start_s - first.end_s >= OVERLAPPING.min_gap_s for lane in lanes for first, second in pairwise(lane)
        )


@pytest.mark.parametrize("settings", [DEFAULT, OVERLAPPING])
def test_pauses_are_at_most_as_long_as_asked(settings):
    close = replace(settings, min_gap_s=1, max_gap_s=2)
    pauses, first_starts = Counter(), Counter()
    for layout in layouts(close):
        for lane in (0, 1):
            events = [event for event in layout.events if event.lane == lane]
            pauses.update(second.start_s - first.end_s for first, second in pairwise(events))
            first_starts.update(event.start_s for event in events[:1])
            assert all(event.start_s >= 0 and event.end_s <= close.duration_s for event in events)
    assert set(pauses) == {1, 2}
    assert min(pauses.values()) > 0.4 * pauses.total()  # both about equally often
    assert len(first_starts) > 10  # together they lie anywhere


def test_kinds_can_take_equal_parts():
    equal = replace(OVERLAPPING, equal_kinds=True, num_shapes=1, min_target_segments=2, queries_per_clip=3)
    numbers = Counter()
    for layout in layouts(equal):
        counts = Counter(event.kind for event in layout.events)
        assert len(counts) == len(layout.questions) == 3
        numbers.update(counts.values())
    # 900 kinds with two or three events each: 450 expected, standard deviation 15
    assert set(numbers) == {2, 3} and abs(numbers[2] - 450) < 75


def test_objects_that_come_and_go_together_are_one_time():
    # two events in a clip of 4 s, 3 s each: both start at 0 or 1
    short = {"num_frames": 4, "min_length_s": 3, "max_length_s": 3, "num_kinds": 1}
    alike = replace(OVERLAPPING, **short, min_target_segments=2, max_target_segments=2)
    together = 0
    for layout in layouts(alike):
        first, second = layout.events
        spans = {(first.start_s, first.end_s), (second.start_s, second.end_s)}
        assert layout.questions[0].solution == [list(span) for span in sorted(spans)]
        assert layout.questions[0].task == ("tvg" if len(spans) == 1 else "tal")
        together += len(spans) == 1
    assert 110 < together < 190  # every second of 300


def test_overlapping_truths_and_unordered_answers_are_options():
    def overlapping(settings):
        solutions = [sorted(question.solution) for layout in layouts(settings) for question in layout.questions]
        return sum(any(b[0] < a[1] for a, b in pairwise(solution)) for solution in solutions)

    def unordered(settings):
        solutions = [question.solution for layout in layouts(settings) for question in layout.questions]
        return sum(solution != sorted(solution) for solution in solutions)

    assert (overlapping(DEFAULT), unordered(DEFAULT)) == (0, 0)
    assert overlapping(OVERLAPPING) > 50
    assert unordered(replace(DEFAULT, unordered=True)) > 50


@pytest.mark.parametrize("settings", [DEFAULT, MANY])
def test_problems_use_the_listed_words_only(settings):
    words = set()
    for layout in layouts(settings):
        for question in layout.questions:
            words |= set(question.problem.replace("'", " ").replace("?", " ").replace(".", " ").split())
    assert words <= set(SYNTHETIC_WORDS)


def test_full_options_use_every_word():
    words = {
        word
        for layout in layouts(MANY, count=600)
        for question in layout.questions
        for word in question.problem.split("'")[1].split()
    }
    assert words == {*COLOURS_RGB, *SHAPES, *MOTIONS}


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        ({"num_colours": 7}, "num_colours must be 1 to 6"),
        ({"num_frames": 0}, "num_frames and sample_rate_fps"),
        ({"side_px": 27}, "side_px must be an even number"),
        ({"side_px": 12}, "holds an object"),
        ({"max_target_segments": 9}, "11 events need 32 s"),  # 11 x 2 s + 10 x 1 s
        ({"max_length_s": 1}, "min_length_s must be 1 to max_length_s"),
        ({"max_length_s": 25}, "must fit in the clip"),
        ({"min_distractors": 3}, "min_distractors must not exceed"),
        ({"queries_per_clip": 0}, "queries_per_clip"),
        ({"num_train_clips": -1}, "num_train_clips must not be negative"),
        ({"max_target_segments": 20, "overlapping": True}, "11 events need 32 s"),  # half of 22, in each half
        ({"equal_kinds": True, "max_target_segments": 4}, "12 events need 35 s"),  # 3 kinds: 12 x 2 s + 11 x 1 s
        ({"overlapping": True}, "max_object_px must be at most 14"),
        ({"min_gap_s": 3, "max_gap_s": 2}, "min_gap_s must not exceed max_gap_s"),
        ({"max_gap_s": -1}, "max_gap_s must not be negative"),
    ],
)
def test_impossible_settings_are_refused(broken, rule):
    with pytest.raises(ValueError, match=rule):
        replace(DEFAULT, **broken)


def test_all_broken_rules_are_named_at_once():
    with pytest.raises(ValueError, match=r"num_shapes .*; .*queries_per_clip"):
        replace(DEFAULT, num_shapes=9, queries_per_clip=0)
