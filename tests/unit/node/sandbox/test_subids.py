"""Ranges of subordinate ids, from files as useradd and podman's owners write them."""

from pathlib import Path

import pytest

from garage_ai.node.sandbox.subids import free_ids, free_range


@pytest.mark.parametrize(
    ("subuid", "subgid", "free"),
    [
        ("", "", "100000-165535"),
        ("anna:1000:10\n", "", "100000-165535"),
        ("anna:100000:65536\n", "anna:100000:65536\n", "196608-262143"),
        ("anna:100000:65536\n", "bo:524288:65536\n", "589824-655359"),
        ("root:1000000:1000000000\n", "", "1001062400-1001127935"),
        ("# of nobody\nanna\nbo:x:9\ncia:100000:\n1000:100000:5\n", "", "131072-196607"),
        ("top:4294901760:65536\n", "anna:100000:65536\n", "196608-262143"),
        ("all:0:4294967296\n", "", "FIRST-LAST"),
    ],
)
def test_gives_a_range_that_nobody_has(subuid: str, subgid: str, free: str) -> None:
    """Above all that users and groups have, lower only where there is no room above."""
    assert free_range(subuid, subgid) == free


def test_reads_both_files_of_a_system(tmp_path: Path) -> None:
    """One that is not there has nobody in it."""
    assert free_ids(tmp_path) == "100000-165535"
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/subgid").write_text("anna:100000:65536\n")
    assert free_ids(tmp_path) == "196608-262143"
