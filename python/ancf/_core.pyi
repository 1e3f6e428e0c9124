import numpy as np
import numpy.typing as npt

_Csr = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], npt.NDArray[np.float32]]

__version__: str

def resolve_num_threads(num_threads: int | None = None) -> int: ...
def ridge_neighbours(
    interactions: _Csr,
    n_items: int,
    *,
    candidates: int,
    neighbours: int,
    shrinkage: float,
    user_power: float,
    source_power: float,
    target_power: float,
    num_threads: int | None = None,
) -> _Csr: ...
def simd_levels() -> tuple[str, list[str]]: ...
