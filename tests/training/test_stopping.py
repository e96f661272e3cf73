"""Signals that ask a run to stop, to save itself, or to be queued again."""

import os
import signal

import pytest

from museg.training import processes
from museg.training.stopping import Asked, Stopped, StopRequest, requeue

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)


@pytest.fixture(autouse=True)
def handlers_of_before():
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def listening(monkeypatch, *, is_submitit: bool) -> StopRequest:
    monkeypatch.delenv("SUBMITIT_EXECUTOR", raising=False)
    if is_submitit:
        monkeypatch.setenv("SUBMITIT_EXECUTOR", "slurm")
    stop = StopRequest()
    stop.listen()
    return stop


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_stops_the_run(number, monkeypatch):
    stop = listening(monkeypatch, is_submitit=False)
    assert stop.agree() is Asked.NOTHING
    stop.raise_if_requested()
    send(number)
    assert stop.agree() is Asked.STOP
    with pytest.raises(Stopped, match=signal.Signals(number).name) as caught:
        stop.raise_if_requested()
    assert (caught.value.signal_number, caught.value.exit_code) == (number, 128 + number)


def test_a_second_ctrl_c_stops_at_once(monkeypatch):
    listening(monkeypatch, is_submitit=False)
    send(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)


def test_sigterm_asks_a_job_of_submitit_to_save_itself_once(monkeypatch):
    stop = listening(monkeypatch, is_submitit=True)
    send(signal.SIGTERM)
    assert stop.agree() is Asked.SAVE
    assert stop.agree() is Asked.NOTHING
    send(signal.SIGTERM)
    stop.raise_if_requested()  # at the end of a fit everything is saved


@pytest.mark.parametrize("order", [(signal.SIGTERM, signal.SIGUSR2), (signal.SIGUSR2, signal.SIGTERM)])
def test_sigterm_besides_sigusr2_changes_nothing(order, monkeypatch):
    stop = listening(monkeypatch, is_submitit=True)
    for number in order:
        send(number)
    assert stop.agree() is Asked.STOP
    with pytest.raises(Stopped, match="SIGUSR2"):
        stop.raise_if_requested()


@pytest.mark.parametrize(
    ("elsewhere", "asked"),
    [(None, Asked.NOTHING), (signal.SIGTERM, Asked.SAVE), (signal.SIGUSR2, Asked.STOP)],
)
def test_what_one_process_hears_all_do(elsewhere, asked, monkeypatch):
    stop = listening(monkeypatch, is_submitit=True)
    monkeypatch.setattr(processes, "gather", lambda own: [own, elsewhere])
    assert stop.agree() is asked
    assert stop.signal_number == (elsewhere if asked is Asked.STOP else None)


def test_the_handler_of_before_queues_the_job_again():
    """submitit's exits in the first process and returns in the others, which end without an error."""
    heard = []

    def of_the_first(number, frame):
        heard.append(number)
        raise SystemExit(-1)

    signal.signal(signal.SIGUSR2, of_the_first)
    with pytest.raises(SystemExit) as caught:
        requeue(Stopped(signal.SIGUSR2))
    assert (caught.value.code, heard) == (-1, [signal.SIGUSR2])
    signal.signal(signal.SIGUSR2, lambda number, frame: None)
    with pytest.raises(SystemExit) as caught:
        requeue(Stopped(signal.SIGUSR2))
    assert caught.value.code == 0


def test_without_such_a_handler_a_stopped_run_has_stopped():
    signal.signal(signal.SIGUSR2, signal.SIG_DFL)
    requeue(Stopped(signal.SIGUSR2))
    signal.signal(signal.SIGUSR2, lambda number, frame: pytest.fail("not its signal"))
    requeue(Stopped(signal.SIGTERM))
