"""Workers on Ray: one actor each, results in Ray's object store."""

from typing import Any

from ancf.distributed.pool import WorkerLostError
from ancf.distributed.worker import Worker
from ancf.errors import MissingExtraError


def started_ray() -> Any:
    """The module of the Ray that is running, or of one that is started here.

    Raises
    ------
    MissingExtraError
        If ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ancf.ray needs ray. Install it with: pip install 'ancf[ray]'") from error
    if not ray.is_initialized():
        ray.init()
    return ray


class RayPool:
    """Actors of the Ray that is running, or of one that is started here.

    Raises
    ------
    MissingExtraError
        If ray is not installed.
    """

    def __init__(self, n_workers: int, num_cpus: float) -> None:
        self._ray = ray = started_ray()
        self.n_workers, self.n_replaced = n_workers, 0
        # Over as many machines as there are, since it is their memory and bandwidth that counts.
        self._class = ray.remote(num_cpus=num_cpus, scheduling_strategy="SPREAD")(Worker)
        self._actors = [self._class.remote() for _ in range(n_workers)]

    def put(self, value: Any) -> Any:
        """A reference."""
        return self._ray.put(value)

    def call(self, worker: int, method: str, *arguments: Any, returns: int = 1) -> Any:
        """A reference of the result, or as many as it returns."""
        return getattr(self._actors[worker], method).options(num_returns=returns).remote(*arguments)

    def get(self, handle: Any) -> Any:
        """The value of a reference; an error of a worker is raised as it was there."""
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(handle)
        except exceptions.RayTaskError as error:
            if isinstance(error.cause, exceptions.RayError):
                raise WorkerLostError(str(error.cause)) from error
            raise error.cause from error
        except exceptions.RayError as error:
            raise WorkerLostError(str(error)) from error

    def replace_lost(self) -> None:
        """New actors in the place of those that do not answer."""
        for number, actor in enumerate(self._actors):
            try:
                self._ray.get(actor.process.remote())
            except self._ray.exceptions.RayError:
                self._actors[number] = self._class.remote()
                self.n_replaced += 1

    def close(self) -> None:
        """Let the actors go."""
        for actor in self._actors:
            self._ray.kill(actor)
