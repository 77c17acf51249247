"""Platforms by name, device and precision."""

import openmm
import pytest

from molflow.errors import MolflowError
from molflow.farm import Farm
from molflow.md import platforms, runner
from molflow.md.platforms import find_platform, gpus_to_share
from molflow.md.simulate import simulate


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


@pytest.mark.parametrize(
    ("text", "named", "gpus"),
    [("CUDA", None, ("0", "1")), ("CUDA:mixed", None, ("0", "1")),
     ("CUDA", "3,GPU-8f", ("3", "GPU-8f")), ("CUDA:1", None, ()),
     ("CUDA:1:mixed", None, ()), ("CPU", None, ()), ("Reference", "3", ())],
)  # fmt: skip
def test_processes_share_the_gpus_that_are_there(text, named, gpus, monkeypatch, tmp_path):
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / "proc/driver/nvidia/gpus" / name).mkdir(parents=True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if named is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert gpus_to_share(text, tmp_path) == gpus


def test_replicas_side_by_side_have_a_gpu_each(monkeypatch, tmp_path):
    shared = []

    class Recorded(Farm):
        def __init__(self, make, jobs, tasks, gpus):
            shared.append(gpus)
            super().__init__(make, jobs, tasks, gpus)

    monkeypatch.setattr(runner, "Farm", Recorded)
    monkeypatch.setattr(runner, "gpus_to_share", lambda text: (text, "8"))
    simulate(
        "alanine_dipeptide", "20fs", 2, tmp_path, frame_interval="10fs", equilibration="10fs",
        platform="Reference", jobs=1, progress=False,
    )  # fmt: skip
    assert shared == [("Reference", "8")]
