"""Pictures and a printed report as files for papers."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from molflow.analysis.files.own_files import MARK
from molflow.analysis.reporting.pictures import NAMES, Picture
from molflow.analysis.reporting.report import number
from molflow.files import replacing

#: Resolution of PNG files.
DPI = 300
#: A4, inches.
PAGE = (8.27, 11.69)
_MARGIN, _LINE = 0.08, 0.0165
# Text in PDF files stays text, and the same result gives the same bytes.
_STYLE: dict[Any, Any] = {"pdf.fonttype": 42}
_PLAIN = {"CreationDate": None, "Creator": MARK}
_MARKS = {"good": "+", "fair": "~", "bad": "!", "unknown": "?"}
_ROWS = 34


def file_names() -> list[str]:
    """Return the names of all files that `write_figures` may write."""
    return [f"{name}.{kind}" for name in NAMES for kind in ("png", "pdf")] + ["report.pdf"]


def write_figures(folder: Path, result: dict, pictures: list[Picture]) -> None:
    """Write every picture as PDF and PNG, and ``report.pdf`` with verdict, scores and pictures.

    Parameters
    ----------
    folder : Path
        That exists.
    result : dict
        From `molflow.comparison.compare`.
    pictures : list of Picture
    """
    with matplotlib.rc_context(_STYLE):
        for picture in pictures:
            with replacing(folder / f"{picture.name}.png") as temporary:
                picture.figure().savefig(temporary, dpi=DPI, metadata={"Software": MARK})
            with replacing(folder / f"{picture.name}.pdf") as temporary:
                picture.figure().savefig(temporary, dpi=DPI, metadata=_PLAIN)
        with (
            replacing(folder / "report.pdf") as temporary,
            PdfPages(temporary, metadata=_PLAIN) as pages,
        ):
            for page in [_verdict_page(result), *_score_pages(result), *_picture_pages(pictures)]:
                pages.savefig(page, dpi=DPI)


class _Paper:
    """A page that is written from the top to the bottom."""

    def __init__(self) -> None:
        self.figure, self.height = Figure(figsize=PAGE), 1 - _MARGIN

    def write(self, text: str, size: float = 9, left: float = _MARGIN, wrap: int = 100, **style):
        """Write wrapped text and go on below it."""
        for line in textwrap.wrap(text, wrap):
            self.figure.text(left, self.height, line, fontsize=size, va="top", **style)
            self.height -= _LINE * size / 9


def _verdict_page(result: dict) -> Figure:
    page, n = _Paper(), result["n"]
    page.write(result["ensemble"]["name"], 15, fontweight="bold", wrap=60)
    system = result["reference"]["system"]
    page.write(f"{n:,} conformations of {system}, against molecular dynamics")
    page.height -= _LINE
    page.write(result["verdict"]["headline"], 11, fontweight="bold", wrap=78)
    page.height -= _LINE / 2
    for check in result["verdict"]["checks"]:
        top = page.height
        mark = f"{_MARKS[check['level']]} {check['level']}"
        page.figure.text(_MARGIN, top, mark, fontsize=9, va="top", fontweight="bold")
        page.write(check["aspect"], left=_MARGIN + 0.1, wrap=22, fontweight="bold")
        after, page.height = page.height, top
        page.write(check["sentence"], left=_MARGIN + 0.31, wrap=68)
        page.height = min(page.height, after) - _LINE / 2
    page.height -= _LINE / 2
    for note in [result["floor"], *result["notes"]]:
        page.write(note, 8, wrap=112, color="0.3")
    page.height -= _LINE / 2
    for key in ("ensemble sha256", "reference ensemble hash", "reference runs", "molflow"):
        if key in result["provenance"]:
            page.write(f"{key}: {result['provenance'][key]}", 8, wrap=112, color="0.3")
    return page.figure


def _score_pages(result: dict) -> list[Figure]:
    rows, pages = list(result["metrics"].values()), []
    heads = ("value", "floor", "excess", "95 % interval", "unit", "n: model / ref.", "of the floor")
    places = (0.42, 0.485, 0.55, 0.69, 0.70, 0.835, 0.94)
    sides = ("right",) * 4 + ("left", "right", "right")
    for start in range(0, len(rows), _ROWS):
        page = _Paper()
        page.write("Scores", 13, fontweight="bold")
        page.write(
            "The floor is the same score between two disjoint parts of the reference; the excess "
            "is the score minus the floor. Intervals: block bootstrap of both sides."
            + (" Sizes are what the weighted conformations are worth." if "weights" in result
               else ""), 8, wrap=112,
        )  # fmt: skip
        page.height -= _LINE
        for cells in [("score", *heads), *map(_cells, rows[start : start + _ROWS])]:
            style: dict[str, Any] = {"fontsize": 7.2, "va": "top"}
            if cells[0] == "score":
                style["fontweight"] = "bold"
            page.figure.text(_MARGIN, page.height, cells[0], **style)
            for text, place, side in zip(cells[1:], places, sides, strict=True):
                page.figure.text(place, page.height, text, ha=side, **style)
            page.height -= 1.25 * _LINE
        pages.append(page.figure)
    return pages


def _cells(row: dict) -> tuple[str, ...]:
    interval = "–" if row["interval"] is None else " – ".join(map(number, row["interval"]))
    title = row["title"] if len(row["title"]) < 48 else row["name"]
    return (
        title, number(row["value"]), number(row["floor"]), number(row["excess"], 2), interval,
        row["unit"], _sizes(row, "n"), _sizes(row, "floor_n"),
    )  # fmt: skip


def _sizes(row: dict, key: str) -> str:
    """Return both sizes, of weighted data what they are worth."""
    if f"{key}_model_effective" in row:
        key_of = "{}_{}_effective"
        worth = [row[key_of.format(key, side)] for side in ("model", "reference")]
        return " / ".join(f"{size:,.0f}" for size in worth)
    return f"{row[f'{key}_model']:,} / {row[f'{key}_reference']:,}"


def _rows(pictures: list[Picture]) -> list[list[Picture]]:
    """Put narrow pictures that follow each other side by side."""
    rows: list[list[Picture]] = []
    for picture in pictures:
        beside = rows and picture.width == "half" and rows[-1][-1].width == "half"
        if beside and len(rows[-1]) == 1:
            rows[-1].append(picture)
        else:
            rows.append([picture])
    return rows


def _picture_pages(pictures: list[Picture]) -> list[Figure]:
    inside = (1 - 2 * _MARGIN) * PAGE[0]
    room = 0.0
    pages: list[list[tuple[list[Picture], float]]] = []
    for row in _rows(pictures):
        wide = inside / len(row)
        height = max(p.size[1] * min(1.0, wide / p.size[0]) for p in row) + 0.9
        if not pages or height > room:
            room = (1 - 2 * _MARGIN) * PAGE[1]
            pages.append([])
        pages[-1].append((row, height))
        room -= height
    return [_picture_page(page) for page in pages]


def _picture_page(page: list[tuple[list[Picture], float]]) -> Figure:
    figure = Figure(figsize=PAGE, layout="constrained")
    margin = _MARGIN * PAGE[1]
    heights = [height for _, height in page]
    rest = max(margin, PAGE[1] - margin - sum(heights))
    bands = figure.subfigures(
        len(page) + 2, 1, squeeze=False, height_ratios=[margin, *heights, rest]
    )[:, 0]
    for band, (row, _) in zip(bands[1:-1], page, strict=True):
        # One narrow picture keeps its size, in the middle.
        wide = (1 - 2 * _MARGIN) / len(row)
        share = min(wide, row[0].size[0] / PAGE[0])
        side = (1 - share * len(row)) / 2
        places = band.subfigures(
            1, len(row) + 2, squeeze=False, width_ratios=[side, *[share] * len(row), side]
        )[0]
        for place, picture in zip(places[1:-1], row, strict=True):
            place.suptitle(picture.title, fontsize=11, fontweight="bold")
            note = textwrap.wrap(picture.note, round(130 * share))
            place.supxlabel("\n".join(note), fontsize=8)
            picture.draw(place)
    return figure
