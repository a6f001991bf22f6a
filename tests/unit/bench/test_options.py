"""The command line of the mock engine."""

import argparse

import msgspec
import pytest
from bench.mock_options import Options, add_arguments, options_from


def parse(*argv: str) -> Options:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return options_from(parser.parse_args(argv))


def test_nothing_said_means_the_defaults() -> None:
    """An engine without options has no faults and no limits."""
    assert parse() == Options()
    assert not Options().faulty


def test_every_field_is_an_option() -> None:
    """Each field of Options can be given on the command line under its own name."""
    for field in msgspec.structs.fields(Options):
        flag = "--" + field.name.replace("_", "-")
        given = [flag] if field.type is bool else [flag, "7"]
        assert getattr(parse(*given), field.name) != getattr(Options(), field.name)


@pytest.mark.parametrize("fault", ["die_after", "stall_after", "cut_after", "garbage_after"])
def test_a_fault_before_the_first_byte_is_a_fault(fault: str) -> None:
    """Zero chunks are not the same as no fault."""
    assert msgspec.convert({fault: 0}, Options).faulty


def test_several_models_stand_in_one_option() -> None:
    """Names are separated by commas."""
    assert parse("--models", "a,b").names == ["a", "b"]
