"""What each metric means, in a line. ``docs/metrics.md`` has the formulas in symbols, with their sources."""

DEFINITIONS = {
    "ndcg": "1 / log₂(place + 1) for each purchase found in the first {k} places, added up and divided by the most "
    "that any order could reach: the higher in the list, the better; 1 is best",
    "recall": "the purchases found in the first {k} places, divided by all purchases of the customer; 1 is best",
    "precision": "the purchases found in the first {k} places, divided by {k}; 1 is best",
    "hit": "the part of the customers with at least one purchase in the first {k} places; 1 is best",
    "map": "the precision at the place of each purchase found within {k}, added up and divided by all purchases of the "
    "customer; 1 is best",
    "mrr": "1 divided by the place of the first purchase found within {k}, and 0 where there is none; 1 is best",
    "coverage": "the part of all products that stands in the first {k} places of anybody's list: variety, not quality",
    "novelty": "the mean of −log₂(the part of the customers who bought it) of the products in the first {k} places, in "
    "bits: the fewer, the newer",
    "diversity": "1 less the mean likeness of two products in the first {k} places, by their buyers; 1 is no likeness",
    "serendipity": "for each purchase found in the first {k} places, how much further up it is than by popularity; "
    "added up and divided by {k}",
    "popularity_bias": "how many bought the products in the first {k} places, divided by how many bought what the "
    "customers bought; 1 is as popular as that",
    "gini": "how unevenly the first {k} places of all lists are shared among the products: 0 evenly, 1 all to one",
    "auc": "the part of the pairs of a product that was bought and one that was not, in which the first has the higher "
    "score; 1 is best, ½ is chance",
    "mse": "the mean of the squared differences between predicted and true quantities; 0 is best",
    "rmse": "the root of the mean of the squared differences between predicted and true quantities; 0 is best",
    "mae": "the mean of the differences between predicted and true quantities without their signs; 0 is best",
}


def definition(label: str) -> str | None:
    """That of a metric by its label; None for one that is not described here.

    >>> definition("precision@10")
    'the purchases found in the first 10 places, divided by 10; 1 is best'
    """
    name, _, cut = label.partition("@")
    text = DEFINITIONS.get(name)
    return None if text is None else text.format(k=cut)


def cut_off(label: str) -> int:
    """The length of list that a metric looks at; 10 where it looks at none.

    >>> cut_off("recall@20"), cut_off("mse")
    (20, 10)
    """
    _, _, cut = label.partition("@")
    return int(cut) if cut.isdigit() else 10
