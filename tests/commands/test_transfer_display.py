from io import StringIO

from rich.console import Console

from museg.commands import transfer_display
from museg.commands.transfer_display import TransferDisplay


def test_terminal_shows_a_bar_for_each_thing_that_is_done():
    out = StringIO()
    with TransferDisplay(Console(file=out, force_terminal=True, width=100)) as display:
        display("a[b].zip", 0, 4 * 2**20)
        display("a[b].zip", 3 * 2**20, 4 * 2**20)
        display("unpacking a[b].zip", 2, None)
        display("decoding", 1, 3)
    shown = out.getvalue()
    assert "a[b].zip" in shown
    assert "3 of 4 MiB" in shown
    assert "unpacking a[b].zip" in shown
    assert "1 of 3" in shown


def test_file_gets_a_plain_line_now_and_then(monkeypatch):
    now_s = [0.0]
    monkeypatch.setattr(transfer_display.time, "monotonic", lambda: now_s[0])
    out = StringIO()
    with TransferDisplay(Console(file=out)) as display:
        for second in range(70):
            now_s[0] = float(second)
            display("decoding", second, 100)
    assert out.getvalue() == "decoding  30 of 100\ndecoding  60 of 100\n"
