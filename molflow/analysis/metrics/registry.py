"""All metrics under one roof: one name, one definition."""

from __future__ import annotations

from molflow.analysis.metrics import (
    energies,
    geometry,
    relaxation,
    samples,
    torsion_maps,
    torsion_marginals,
    transport,
)
from molflow.analysis.metrics.entry import KINDS, Metric
from molflow.registry import Registry

_FAMILIES = (torsion_maps, transport, torsion_marginals, energies, geometry, relaxation, samples)

#: Every metric by name, in the order in which tables show them.
METRICS: Registry[Metric] = Registry("metric", "molflow.metrics", {})
for _family in _FAMILIES:
    for _entry in _family.ENTRIES:
        METRICS.register(_entry.name, _entry)


def metric(name: str) -> Metric:
    """Return the metric of a name.

    Raises
    ------
    MolflowError
        If there is none.
    """
    return METRICS[name]


def metrics_of(kind: str, *, shown: bool = True, slow: bool = True) -> list[Metric]:
    """Return the metrics of a kind of data: those that comparisons show, or all.

    Parameters
    ----------
    kind : str
        One of `molflow.analysis.metrics.entry.KINDS`.
    shown : bool
        Leave out those that are computed only when asked for.
    slow : bool
        Include those by exact optimal transport.
    """
    return [
        entry
        for entry in METRICS.values()
        if entry.data == kind and (entry.shown or not shown) and (slow or not entry.slow)
    ]


def list_metrics() -> list[dict[str, str]]:
    """Return every metric as a row of plain text.

    Returns
    -------
    list of dict
        ``name``, ``title``, ``unit``, ``better``, ``data`` (what it is a function of),
        ``definition`` and ``source``.
    """
    return [
        {
            "name": entry.name,
            "title": entry.title,
            "unit": entry.unit,
            "better": entry.better,
            "data": KINDS[entry.data],
            "definition": entry.definition,
            "source": entry.source,
        }
        for entry in METRICS.values()
    ]
