"""Extended tight binding: GFN1-xTB and GFN2-xTB by tblite, with ALPB as continuum solvent."""

from __future__ import annotations

from functools import partial
from typing import Any

from molflow.errors import MolflowError
from molflow.md.potentials.calculator import by_calculator
from molflow.potentials import PotentialSettings

_OPTIONS = ("accuracy", "electronic_temperature", "max_iterations")


def _calculator(method: str, settings: PotentialSettings):
    from ase.calculators.calculator import all_changes
    from tblite.ase import TBLite
    from threadpoolctl import ThreadpoolController

    # Molecules are small and processes work beside each other: threads would only wait.
    threads = ThreadpoolController()

    class Anew(TBLite):
        # From the wave function of the last conformation SCF takes a tenth less time, and the
        # forces depend on that conformation by some tenths of a kJ/mol/nm.
        def calculate(self, atoms=None, properties=None, system_changes=all_changes):
            self.reset()
            with threads.limit(limits=1, user_api="openmp"):
                super().calculate(atoms, properties, all_changes)

    solvation = None if settings.solvent is None else ("alpb", settings.solvent)
    options: dict[str, Any] = dict(settings.options)
    made = partial(
        Anew, method=method, solvation=solvation, cache_api=False, verbosity=0, **options
    )
    if settings.solvent is not None or options:
        _check(method, settings, made)
    return made(charge=settings.charge, multiplicity=settings.multiplicity)


def _check(method: str, settings: PotentialSettings, made) -> None:
    import ase
    from ase.calculators.calculator import CalculationFailed, CalculatorError

    # What is wrong with the settings is wrong for hydrogen, too. That an SCF does not converge is
    # said where it happens, frame by frame: hydrogen's may, and that of the molecule may not.
    hydrogen = ase.Atoms("H2", positions=[(0.0, 0.0, 0.0), (0.0, 0.0, 0.74)])
    try:
        hydrogen.calc = made(charge=0, multiplicity=1)
        hydrogen.get_potential_energy()
    except CalculationFailed:
        return
    except (CalculatorError, RuntimeError, TypeError, ValueError) as error:
        given, advice = [], "choose other options"
        if settings.solvent is not None:
            given.append(f"the solvent '{settings.solvent}'")
            advice = "give a solvent that ALPB knows, such as water, or none"
        given += [f"{name} {value!r}" for name, value in settings.options.items()]
        reason = str(error).rstrip(".")
        raise MolflowError(
            f"{method} does not take {' with '.join(given)} ({reason}): {advice}."
        ) from error


def _xtb(method: str):
    takes = ("charge", "multiplicity", "solvent", *_OPTIONS)
    return by_calculator("tblite", partial(_calculator, method), takes)


GFN1, GFN2 = _xtb("GFN1-xTB"), _xtb("GFN2-xTB")
