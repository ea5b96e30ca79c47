"""The table of families is what is tested, cell by cell."""

import subprocess
import sys

from tests.models.families import table, tiny


def test_the_page_says_what_is_tested():
    assert table.PAGE.read_text() == table.page(), "run python -m tests.models.families.table"


def test_every_cell_is_a_test_that_pytest_finds():
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "no:cacheprovider"]
    root = table.PAGE.parents[1]
    out = subprocess.run([*command, table.SHOWN], cwd=root, capture_output=True, text=True)
    found = {line.partition("::")[2] for line in out.stdout.splitlines() if "::" in line}
    wanted = {test.format(kind) for test in table.CAPABILITIES.values() for kind in tiny.KINDS}
    assert wanted - found == set()
