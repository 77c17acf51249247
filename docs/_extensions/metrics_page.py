"""The page of the metrics, from their registry."""

from __future__ import annotations

from molflow.analysis.metrics.registry import list_metrics

HEAD = """# Metrics

Each has one name and one definition; published tables use the same word for different numbers, so
the variants have names of their own. [Comparing](../how_to/compare.md) says how they are used.
"""


def page() -> str:
    """Return the page as Markdown: the metrics of each kind of data, in a section of its own."""
    rows = list_metrics()
    parts = [HEAD]
    for data in dict.fromkeys(row["data"] for row in rows):
        what, _, shape = data.partition(", (")
        parts += [f"## {what[0].upper()}{what[1:]}", f"Arrays ({shape}:"]
        parts += [_entry(row) for row in rows if row["data"] == data]
    return "\n\n".join(parts) + "\n"


def _entry(row: dict[str, str]) -> str:
    """Return a metric as a term and what it means."""
    good = {"smaller": "smaller is better", "larger": "larger is better"}.get(
        row["better"], f"{row['better']} is right"
    )
    where = row["source"]
    words = f"{row['title']}, in {row['unit']}; {good}. {row['definition']} Source: {where}."
    return f"`{row['name']}`\n: {words.replace('$', chr(92) + '$').replace('..', '.')}"
