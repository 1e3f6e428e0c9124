"""For those who write a recommender on ancf: a battery every model must pass, and strategies that make tables.

    from ancf.testing import ModelContract

    class TestMyModel(ModelContract):
        def make(self, **options):
            return MyModel(**options)

needs pytest and hypothesis, which ``ancf[test]`` brings.
"""

from ancf.testing.contract import ModelContract
from ancf.testing.strategies import histories, id_arrays, interactions

__all__ = ["ModelContract", "histories", "id_arrays", "interactions"]
