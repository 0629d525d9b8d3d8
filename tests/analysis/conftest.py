"""Fixtures of the tests of analysis."""

import pytest
import torch

from vitsplice.analysis.cosegmentation import Cosegmentation


@pytest.fixture
def no_sheet(monkeypatch):
    """Do not draw the contact sheet of a co-segmentation."""
    monkeypatch.setattr(Cosegmentation, "sheet", torch.zeros(3, 8, 8))
