"""``ancf doctor``: what a bug report needs, and how a model would rank on this machine."""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ancf import _native
from ancf.cli.command import command
from ancf.cli.output import output_options, write_table

if TYPE_CHECKING:
    from ancf.models.base import Recommender

# Optional packages, and the extra that installs each.
_EXTRAS = {
    "pyarrow": "ancf[arrow]",
    "optuna": "ancf[tune]",
    "matplotlib": "ancf[tune]",
    "usearch": "ancf[usearch]",
    "uvicorn": "ancf[serve]",
    "httpx": "ancf[client]",
}
_REQUIRED = ("numpy", "pandas", "click", "rich")
_LIST_LENGTH = 10


@command("doctor", examples=["ancf doctor", "ancf doctor shop.ancf"])
@click.argument("model_file", metavar="[MODEL]", required=False)
@output_options
def doctor(model_file: str | None, output_format: str | None, output: str) -> None:
    """The machine, the extras, and how a model would rank here.

    Put its output into a bug report. With a MODEL file it also says which way of ranking would be used, and why.
    """
    facts = machine()
    if model_file:
        from ancf.cli.models import load

        facts |= ranking_plan(load(model_file))
    write_table(["what", "value"], list(facts.items()), output_format=output_format, output=output, document=facts)


def machine() -> dict[str, str]:
    """Versions, processor, threads and extras."""
    chosen, available = _native.simd_levels()
    facts = {
        "ancf": _native.__version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()}), {sys.executable}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "instruction sets": f"{', '.join(available)}; used: {chosen}",
        "threads": _threads(),
        "memory": _memory(),
    }
    facts |= {name: _version(name) or "not installed" for name in _REQUIRED}
    for name, extra in _EXTRAS.items():
        facts[name] = _version(name) or f"not installed (pip install '{extra}')"
    for name in sorted(os.environ):
        if name.startswith("ANCF_"):
            facts[name] = os.environ[name]
    return facts


def ranking_plan(model: "Recommender") -> dict[str, str]:
    """How this model would rank on this machine, and why."""
    scorer = model._fitted()
    vectors = scorer.item_vectors
    facts = {
        "model": f"{scorer.model}, {len(scorer.user_ids):,} users × {len(scorer.item_ids):,} items",
        "vectors": f"{vectors.shape[1]} factors, {vectors.nbytes / 1e6:.1f} MB of items"
        if vectors.shape[1]
        else "none",
    }
    if scorer.neighbors is not None:
        facts["item-item weights"] = f"{len(scorer.neighbors.indices):,}"
    if scorer.dense_neighbors is not None:
        facts["item-item weights"] = f"{scorer.dense_neighbors.size:,}"
    plan = scorer.ranker.plan(_LIST_LENGTH)
    facts["ranking"] = f"exact, over all items: {plan['path']} ({plan['simd']}), since {plan['why']}"
    return facts


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def _threads() -> str:
    used = _native.resolve_num_threads()
    why = " (ANCF_NUM_THREADS)" if os.environ.get("ANCF_NUM_THREADS") else ""
    return f"{used}{why} of {os.cpu_count()} processors"


def _memory() -> str:
    from ancf.scoring.limits import available_bytes

    free = available_bytes()
    return "unknown" if free is None else f"{free / 2**30:.1f} GiB free"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
