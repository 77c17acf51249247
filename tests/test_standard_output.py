"""The remarks of C code, as of mdtraj's DCD reader, do not come among the results."""

import subprocess
import sys

_CODE = """
import os, sys
from molflow.standard_output import without_remarks_of_c_code
print("before")
without_remarks_of_c_code()
os.write(1, b"remark\\n")
print("F\u200a/\u200akT")
"""


def test_only_python_writes_to_standard_output():
    result = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", _CODE], capture_output=True, check=True
    )
    assert result.stdout.decode().split() == ["before", "F", "/", "kT"]
    assert result.stderr == b""


def test_a_closed_standard_output_is_left_alone():
    code = "from molflow.standard_output import without_remarks_of_c_code as f; f()"
    command = f"exec '{sys.executable}' -c '{code}' >&-"
    assert subprocess.run(["sh", "-c", command], capture_output=True).returncode == 0
