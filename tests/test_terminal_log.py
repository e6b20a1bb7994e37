"""What library code logs is shown by the command line as before: plain, or with its level."""

from __future__ import annotations

import logging

import pytest

from stages.cli.terminal_log import logged_to_terminal


def test_levels(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("pipeline.some.module")
    with logged_to_terminal():
        log.debug("nobody reads this")
        log.info("3 images used")
        log.warning("the file %s is damaged", "x")
        log.error("the disk is full")
    log.info("after the command")
    assert capsys.readouterr().err == "3 images used\nwarning: the file x is damaged\nerror: the disk is full\n"
    assert logging.getLogger("pipeline").level == logging.NOTSET
