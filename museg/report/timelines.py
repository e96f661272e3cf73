"""True and predicted segments of held-out examples on a time axis, one row for each stage of the run.

Blue is predicted time that is true, orange is predicted time that is not; the true segments stand on top and run down
behind the predictions as a band. Segments of a row that overlap or touch stand above each other. Which examples are
shown follows a rule that the page states.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from museg.report.drawing import COLOURS, Margins, Picture, drawing_style, new_axes, png_of, save
from museg.report.facts import stage_title, stages
from museg.report.run_folder import Prediction, RunRecord
from museg.report.tolerant import clip
from museg.temporal.segments import Segment, merge

NUM_EXTREMES = 2
NUM_SPREAD = 4
BAR_HEIGHT = 0.5
STACKED_HEIGHT = 0.8
"""Of all bars of a row together, where some stand above others; 1 is the distance between rows."""
MAX_STACKED = 3
MAX_AXIS_S = 86_400.0
"""No axis is drawn longer than a day; what lies beyond is cut off there."""
SELECTION_RULE = (
    f"the {NUM_EXTREMES} examples whose IoU rose most from the first stage to the last, the {NUM_EXTREMES} whose IoU "
    f"fell most, and {NUM_SPREAD} more spread evenly over the held-out file, chosen without looking at their scores"
)


@dataclass(frozen=True)
class Timeline:
    """One example with its answer at every stage, and why it is shown."""

    example: Prediction
    why: str
    rows: tuple[tuple[str, Prediction], ...]
    """(stage name, answer) in the order of the run."""


@dataclass(frozen=True)
class DrawnTimeline:
    """A timeline with its picture."""

    timeline: Timeline
    picture: Picture


def choose_timelines(run: RunRecord) -> tuple[list[Timeline], str]:
    """The examples to show, and the decoding mode of their answers (greedy where there is any)."""
    mode = "greedy" if any("greedy" in modes for modes in run.predictions.values()) else "sampled"
    answers = {stage: run.predictions[stage][mode] for stage in stages(run) if mode in run.predictions.get(stage, {})}
    if not answers:
        return [], mode
    last = answers[list(answers)[-1]]
    reasons = _extremes(answers)
    spread = [example_id for example_id in last if example_id not in reasons]
    for example_id in _evenly(spread, NUM_SPREAD):
        reasons[example_id] = "evenly spread"
    return [Timeline(last[example_id], why, _rows(answers, example_id)) for example_id, why in reasons.items()], mode


def _rows(answers: Mapping[str, Mapping[str, Prediction]], example_id: str) -> tuple[tuple[str, Prediction], ...]:
    return tuple((stage, found[example_id]) for stage, found in answers.items() if example_id in found)


def _extremes(answers: Mapping[str, Mapping[str, Prediction]]) -> dict[str, str]:
    first, last = answers[next(iter(answers))], answers[list(answers)[-1]]
    change = {
        example_id: last[example_id].iou - first[example_id].iou
        for example_id in last
        if example_id in first and last[example_id].iou is not None and first[example_id].iou is not None
    }
    ranked = sorted(change, key=change.__getitem__)
    risen = [example_id for example_id in reversed(ranked[-NUM_EXTREMES:]) if change[example_id] > 0]
    fallen = [example_id for example_id in ranked[:NUM_EXTREMES] if change[example_id] < 0]
    return {
        **{example_id: f"most improved, IoU +{change[example_id]:.2f}" for example_id in risen},
        **{example_id: f"most worsened, IoU −{-change[example_id]:.2f}" for example_id in fallen},
    }


def _evenly(items: Sequence[str], count: int) -> list[str]:
    if len(items) <= count:
        return list(items)
    return [items[round(index * (len(items) - 1) / (count - 1))] for index in range(count)]


def draw_timelines(chosen: Sequence[Timeline], folder: Path) -> list[DrawnTimeline]:
    """Draw each timeline as `timeline_<number>.png` (inside `drawing_style`)."""
    return [DrawnTimeline(timeline, _draw(timeline, index, folder)) for index, timeline in enumerate(chosen, start=1)]


def timeline_png(timeline: Timeline) -> bytes:
    """One timeline as a PNG for use outside a page."""
    with drawing_style():
        return png_of(_figure(timeline), _title(timeline))


def _draw(timeline: Timeline, index: int, folder: Path) -> Picture:
    return save(_figure(timeline), f"timeline_{index:02d}", _title(timeline), folder)


def _title(timeline: Timeline) -> str:
    return clip(f"{timeline.example.query} ({timeline.why})", 110).replace("\n", " ")


def _figure(timeline: Timeline) -> Figure:
    targets = merge([segment for segment in timeline.example.targets if segment.end_s > segment.start_s])
    length_s = axis_length_s(timeline)
    num_rows = 1 + len(timeline.rows)
    labels = ["true", *(clip(stage_title(stage), 20) for stage, _ in timeline.rows)]
    margins = Margins(0.25 + 0.07 * max(map(len, labels)), 1.75, 0.04, 0.26)
    figure, axes = new_axes(11.0, 0.3 + 0.25 * num_rows, margins)
    axes.set_xlim(0, length_s)
    axes.set_ylim(num_rows - 0.45, -0.55)
    for segment in targets:
        axes.axvspan(segment.start_s, segment.end_s, color=COLOURS["grid"], linewidth=0, zorder=0)
    for segments, place in _strips(0, timeline.example.targets):
        _bars(axes, place, segments, COLOURS["ink"])
    for row, (_, answer) in enumerate(timeline.rows, start=1):
        for segments, place in _strips(row, answer.segments or ()):
            inside, outside = split_by_truth(segments, targets)
            _bars(axes, place, outside, COLOURS["orange"])
            _bars(axes, place, inside, COLOURS["blue"])
        beside = {"xycoords": ("axes fraction", "data"), "va": "center", "annotation_clip": False}
        axes.annotate(_verdict(answer), (1.01, row), **beside)
    axes.set_yticks(range(num_rows), labels)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_formatter("{x:g} s")
    return figure


def axis_length_s(timeline: Timeline) -> float:
    """Length of the time axis: the clip's, or where unknown the end of the last segment; 1 s where nothing is known."""
    ends = [segment.end_s for segment in timeline.example.targets]
    if not timeline.example.duration_s:
        ends += [segment.end_s for _, answer in timeline.rows for segment in answer.segments or ()]
    length_s = max([timeline.example.duration_s or 0.0, *ends])
    return min(length_s, MAX_AXIS_S) if length_s > 0 else 1.0


def split_by_truth(predicted: Sequence[Segment], targets: Sequence[Segment]) -> tuple[list[Segment], list[Segment]]:
    """The predicted seconds that are true, and those that are not; `targets` merged. Reversed segments hold no time."""
    inside, outside = [], []
    for segment in merge([segment for segment in predicted if segment.end_s > segment.start_s]):
        cursor_s = segment.start_s
        for target in targets:
            start_s, end_s = max(segment.start_s, target.start_s), min(segment.end_s, target.end_s)
            if start_s < end_s:
                if start_s > cursor_s:
                    outside.append(Segment(cursor_s, start_s))
                inside.append(Segment(start_s, end_s))
                cursor_s = end_s
        if cursor_s < segment.end_s:
            outside.append(Segment(cursor_s, segment.end_s))
    return inside, outside


def stacked(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Segments by start, dealt out so that those of a list neither overlap nor touch: `MAX_STACKED` lists or fewer.

    Where more overlap, the others go to the list whose last segment ends first. Reversed and empty ones hold no time
    and are left out.
    """
    strips: list[list[Segment]] = []
    for segment in sorted(segment for segment in segments if segment.end_s > segment.start_s):
        free = next((strip for strip in strips if strip[-1].end_s < segment.start_s), None)
        if free is None and len(strips) < MAX_STACKED:
            strips.append([segment])
        else:
            (free or min(strips, key=lambda strip: strip[-1].end_s)).append(segment)
    return strips


def _strips(row: int, segments: Sequence[Segment]) -> list[tuple[list[Segment], tuple[float, float]]]:
    """Lists of segments that hide none of each other, each with its place in the row (top and height)."""
    strips = stacked(segments)
    if len(strips) < 2:
        return [(strip, (row - BAR_HEIGHT / 2, BAR_HEIGHT)) for strip in strips]
    distance = STACKED_HEIGHT / len(strips)
    top = row - STACKED_HEIGHT / 2
    return [(strip, (top + index * distance, 0.85 * distance)) for index, strip in enumerate(strips)]


def _bars(axes: Axes, place: tuple[float, float], segments: Sequence[Segment], colour: str) -> None:
    limit_s = axes.get_xlim()[1]
    visible = [(max(0.0, s.start_s), min(limit_s, s.end_s)) for s in segments if s.end_s > 0 and s.start_s < limit_s]
    spans = [(start_s, end_s - start_s) for start_s, end_s in visible]
    axes.broken_barh(spans, place, facecolors=colour, linewidth=0, zorder=2)


def _verdict(answer: Prediction) -> str:
    iou = "IoU –" if answer.iou is None else f"IoU {answer.iou:.2f}"
    fault = answer.fault or ("no answer" if answer.segments is None else "")
    return f"{iou}, {clip(stage_title(fault), 20)}" if fault else iou
