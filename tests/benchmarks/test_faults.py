"""The table of faults has every test of faults, and no other."""

from __future__ import annotations

import ast

from benchmarks import faults, results_file


def test_every_fault_that_is_tested_is_a_row() -> None:
    tests = {
        f"{path.name}::{node.name}"
        for path in (faults.ROOT / faults.TESTS).glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert {fault.test.partition("[")[0] for fault in faults.FAULTS} == tests


def test_the_page_is_that_of_the_results() -> None:
    assert faults.PAGE.read_text(encoding="utf-8") == faults.text()
    assert results_file.read("faults")["rows"].keys() == {fault.name for fault in faults.FAULTS}
