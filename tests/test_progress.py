"""Long work says how far it is where nobody watches a bar."""

import molflow.progress
from molflow.progress import Lines


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


def said(monkeypatch, terminal):
    clock, stream = [0.0], Stream(terminal)
    monkeypatch.setattr(molflow.progress.sys, "stderr", stream)
    monkeypatch.setattr(molflow.progress.time, "monotonic", lambda: clock[0])
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
