import io

import pytest
from rich.console import Console

from museg.evaluation import progress
from museg.evaluation.progress import AnsweringProgress, time_left


@pytest.mark.parametrize(
    ("elapsed_s", "num_done", "num_left", "words"),
    [
        (60, 10, 100, "  about 10 min left"),  # 6 s each
        (60, 10, 1, "  about 1 min left"),
        (60, 1, 90, "  about 1.5 h left"),
        (60, 0, 100, ""),
        (60, 10, 0, ""),
    ],
)
def test_time_left_by_hand(elapsed_s, num_done, num_left, words):
    assert time_left(elapsed_s, num_done, num_left) == words


def test_a_file_gets_a_line_now_and_then(monkeypatch):
    clock_s = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock_s[0])
    written = io.StringIO()
    with AnsweringProgress("small", Console(file=written)) as show:
        for num_done in (40, 50, 60, 70, 100):
            show(num_done, 100, "5 videos [decoded]")
            clock_s[0] += 20
    # at 0, 40 and 80 s: the first, the first after 30 s (20 answers in 40 s, 40 are left: 80 s), and the last
    assert written.getvalue().splitlines() == [
        "small 40/100  5 videos [decoded]",
        "small 60/100  5 videos [decoded]  about 1 min left",
        "small 100/100  5 videos [decoded]",
    ]


def test_a_terminal_gets_a_bar():
    written = io.StringIO()
    with AnsweringProgress("small", Console(file=written, force_terminal=True, width=100)) as show:
        show(0, 4, "")
        show(4, 4, "3 videos [decoded]")
    assert "small" in written.getvalue() and "4/4" in written.getvalue() and "3 videos [decoded]" in written.getvalue()
