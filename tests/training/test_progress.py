import io

import pytest
from rich.console import Console

from museg.training.progress import ProgressLine, describe_step


def lines_of(show) -> list[str]:
    """What a progress line prints where the output is a file."""
    file = io.StringIO()
    line = ProgressLine("phase plain", 60, Console(file=file, width=40))
    show(line)
    line.close()
    return file.getvalue().splitlines()


def test_a_file_gets_a_line_now_and_then():
    lines = lines_of(lambda line: [line.show(step, "reward 1.0") for step in range(1, 61)])
    assert lines == ["phase plain 25/60  reward 1.0", "phase plain 50/60  reward 1.0"]


def test_a_line_asked_for_is_printed_and_never_broken():
    [printed] = lines_of(lambda line: line.show(3, "x" * 100, now=True))
    assert printed == f"phase plain 3/60  {'x' * 100}"


def test_a_terminal_gets_a_bar():
    file = io.StringIO()
    line = ProgressLine("cold start", 10, Console(file=file, force_terminal=True, width=120))
    for step in range(1, 11):
        line.show(step, f"loss {step}")
    line.close()
    assert "cold start" in file.getvalue() and "10/10" in file.getvalue() and "loss 10" in file.getvalue()


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"reward/total": 1.23456, "train/mean_iou": 0.5, "time/step_s": 0.7}, "reward 1.235  mIoU 0.500  s/step 0.70"),
        ({"loss/total": 0.25}, "loss 0.250"),  # supervised
        ({"data/num_prompts": 0.0}, ""),
    ],
)
def test_only_what_was_measured_is_told(metrics, told):
    assert describe_step(metrics).strip() == told
