"""Choices of the tab Correspondence, without a browser."""

import pytest
from vitsplice_app.context import AppContext
from vitsplice_app.correspondence import tab
from vitsplice_app.correspondence.matching import TOGETHER


@pytest.fixture
def facet_choices(build_page, workspace):
    """Function that returns the facets that the tab offers after a backbone and a facet were chosen."""
    page = build_page(lambda: tab.build(AppContext(workspace)))
    facet = next(block for block in page.blocks.values() if getattr(block, "label", None) == "Facet")
    update = next(event.fn for event in page.fns.values() if event.name == "facet_updates")
    return lambda backbone, chosen: update(backbone, chosen, -1)[facet]["choices"]


def test_facets_of_the_backbone_are_offered_unless_several_features_are_matched_together(facet_choices):
    assert facet_choices("tiny-cnn", "map") == [TOGETHER, "map"]
    assert facet_choices("tiny-vit", TOGETHER) == tab.FACETS
    assert "map" not in facet_choices("tiny-vit", "key")
