from museg.data.clips import ClipLoader
from museg.data.examples import GroundingExample
from museg.temporal.segments import Segment
from museg.training.step_stream import StepStream
from museg.video.budget import FrameBudget
from tests.video import made_files


def test_steps_are_asked_for_by_number(tmp_path):
    """A stream that begins in the middle gives what the whole one gives from there on."""
    for number in range(4):
        made_files.numbered_mp4(tmp_path / f"{number}.mp4", num_frames=8, fps=2)

    def examples_of(step: int) -> list[GroundingExample]:
        names = [f"{step % 4}.mp4", f"{(step + 1) % 4}.mp4"]
        return [GroundingExample(f"{step}:{name}", name, "?", (Segment(0, 1),), None, "tvg", "made") for name in names]

    budget = FrameBudget(sample_rate_fps=1, min_pixels=784, max_pixels=784)
    quarantine = tmp_path / "quarantine.jsonl"
    with ClipLoader(budget, tmp_path, num_workers=0, timeout_s=60, steps_ahead=2, quarantine_file=quarantine) as clips:
        streams = {start: StepStream(clips, examples_of, start, 6) for start in (0, 3)}
        batches = {start: list(stream) for start, stream in streams.items()}
    assert [len(stream) for stream in streams.values()] == [6, 3]
    asked = {
        start: [(batch.global_step, [clip.example.example_id for clip in batch.clips]) for batch in given]
        for start, given in batches.items()
    }
    assert asked[0][3:] == asked[3]
    assert asked[3][0] == (3, ["3:3.mp4", "3:0.mp4"])
