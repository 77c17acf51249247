"""Platforms by name, device and precision."""

import openmm
import pytest

from molflow.errors import MolflowError
from molflow.md import platforms
from molflow.md.platforms import find_platform


def test_names_are_platforms():
    for name, properties in (("Reference", {}), ("CPU", {"Threads": "1"})):
        platform, found = find_platform(name)
        assert (platform.getName(), found) == (name, properties)


class _Gpu:
    def getName(self):
        return "CUDA"

    def getPropertyNames(self):
        return ("DeviceIndex", "Precision", "UseCpuPme")


class _Known(openmm.Platform):
    """An OpenMM that has GPUs."""

    getNumPlatforms = staticmethod(lambda: 1)
    getPlatform = staticmethod(lambda index: _Gpu())
    getPlatformByName = staticmethod(lambda name: _Gpu())


@pytest.mark.parametrize(
    ("text", "properties"),
    [("CUDA", {}), ("CUDA:1", {"DeviceIndex": "1"}), ("CUDA:mixed", {"Precision": "mixed"}),
     ("CUDA:2:double", {"DeviceIndex": "2", "Precision": "double"}),
     ("CUDA:double:2", {"DeviceIndex": "2", "Precision": "double"})],
)  # fmt: skip
def test_devices_and_precisions_are_properties(monkeypatch, text, properties):
    monkeypatch.setattr(platforms.openmm, "Platform", _Known)
    assert find_platform(text)[1] == properties


@pytest.mark.parametrize("text", ["CUDA:half", "CUDA:", "CUDA:1:2", "CUDA:1:mixed:single"])
def test_what_is_no_choice_is_told(monkeypatch, text):
    monkeypatch.setattr(platforms.openmm, "Platform", _Known)
    with pytest.raises(MolflowError, match="after CUDA write the number of a device, a precision"):
        find_platform(text)


def test_what_this_openmm_has_not_is_told():
    with pytest.raises(MolflowError, match="platform is 'Abacus:1': this OpenMM has Reference"):
        find_platform("Abacus:1")
    with pytest.raises(MolflowError, match="Reference has neither devices nor precisions"):
        find_platform("Reference:mixed")
