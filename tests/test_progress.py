"""Long work says how far it is where nobody watches a bar."""

import pytest

import molflow.progress
from molflow.progress import Lines, track


class Stream:
    """Standard error, a terminal or a file."""

    def __init__(self, terminal):
        self.terminal, self.said = terminal, ""

    def isatty(self):
        return self.terminal

    def write(self, text):
        self.said += text

    def flush(self):
        """Nothing waits."""


def watched(monkeypatch, terminal=False):
    """Return a clock and a standard error that are read meanwhile."""
    clock, stream = [0.0], Stream(terminal)
    monkeypatch.setattr(molflow.progress.sys, "stderr", stream)
    monkeypatch.setattr(molflow.progress.time, "monotonic", lambda: clock[0])
    return clock, stream


def said(monkeypatch, terminal):
    clock, stream = watched(monkeypatch, terminal)
    lines = Lines("simulating", every=60.0)
    for second in range(0, 200, 10):
        clock[0] = float(second)
        lines.say(f"{second} of 200")
    return stream.said


def test_a_line_a_minute_where_there_is_no_terminal(monkeypatch):
    expected = [f"molflow: simulating, {second} of 200" for second in (60, 120, 180)]
    assert said(monkeypatch, terminal=False).splitlines() == expected


def test_none_where_a_bar_is_seen(monkeypatch):
    assert said(monkeypatch, terminal=True) == ""


@pytest.mark.parametrize(
    ("items", "total", "of"), [([10, 20, 30], None, 3), (iter([10, 20, 30]), 3, 3)]
)
def test_what_is_tracked_is_told_in_lines_too(items, total, of, monkeypatch):
    clock, stream = watched(monkeypatch)
    for _ in track(items, "drawing", total=total):
        clock[0] += 40.0
    assert stream.said == f"molflow: drawing, 2 of {of}\n"


def test_what_is_not_to_be_shown_is_not_told(monkeypatch):
    clock, stream = watched(monkeypatch)
    for _ in track([1, 2, 3], "drawing", show=False):
        clock[0] += 90.0
    assert stream.said == ""
