from itertools import pairwise

import torch

from tests.conftest import noise
from vitsplice.matching.clustering import ELBOW, elbow_kmeans, inertia, kmeans


def test_kmeans_recovers_distant_groups():
    groups = torch.tensor([[0.0, 0], [10, 0], [0, 10]]).repeat_interleave(20, 0) + noise(60, 2)
    clusters = kmeans(groups, 3).reshape(3, 20)
    assert (clusters == clusters[:, :1]).all()
    assert len(clusters[:, 0].unique()) == 3


def test_inertia_is_the_mean_squared_distance_from_the_centres():
    points, labels = torch.tensor([[0.0], [2.0], [10.0]]), torch.tensor([0, 0, 1])
    assert inertia(points, labels) == (1 + 1 + 0) / 3


def test_the_elbow_is_at_the_number_of_distinct_points():
    assert len(elbow_kmeans(torch.eye(24)[:4].repeat_interleave(15, 0)).unique()) == 4


def test_the_elbow_is_where_one_more_cluster_would_lower_the_inertia_by_at_most_2_5_percent():
    points = noise(400, 40)
    clusters = len(elbow_kmeans(points).unique())
    values = [inertia(points, kmeans(points, number)) for number in range(1, clusters + 2)]
    assert values[-1] >= ELBOW * values[-2]
    assert all(later < ELBOW * earlier for earlier, later in pairwise(values[:-1]))


def test_equal_points_are_one_cluster():
    assert not elbow_kmeans(torch.ones(5, 3)).any()
