"""P4 and P11: each level forced in turn, and the number of unsafe blocks written down."""

import re
from pathlib import Path

import numpy as np
import pytest

import ancf
from ancf import _native

SIMD = Path(__file__).parents[2] / "rust" / "core" / "src" / "runtime" / "simd"

# Change a number here only after reading the block that changed it, and its reason.
UNSAFE = {
    "byte_dots.rs": 6,
    "delimiters.rs": 1,
    "dot.rs": 8,
    "gemm.rs": 4,
    "huge_pages.rs": 1,
    "int8_scan.rs": 6,
    "level.rs": 3,
    "marked.rs": 3,
    "mixed.rs": 5,
    "mod.rs": 3,
    "reduce.rs": 4,
    "select.rs": 8,
    "sparse.rs": 1,
    "tile_kernels.rs": 9,
    "tile_scan.rs": 8,
    "tiles.rs": 3,
    "two_bits.rs": 4,
}


def rankers():
    rng = np.random.default_rng(3)
    users, items = rng.standard_normal((90, 24), np.float32), rng.standard_normal((5000, 24), np.float32)
    indptr = np.arange(91, dtype=np.int64)
    history = (indptr, np.arange(90, dtype=np.int32), rng.standard_normal(90, np.float32))
    keys = rng.standard_normal((5000, 8), np.float32)
    target = {"keys": keys, "queries": keys, "item_logits": keys[:, 0].copy(), "attention_exponent": 0.5}
    for head in ({}, {"head": "factor_attention", "sharpness": users[0]}, {"head": "target_attention", **target}):
        ranker = _native.Ranker(items, **head)
        ranker.set_users(users, history)
        yield ranker


def lists():
    return [ranker.top_n(None, 10, plan=plan) for ranker in rankers() for plan in (None, "plain", "pruned")]


def test_a_forced_level_gives_the_same_lists(monkeypatch):
    monkeypatch.delenv("ANCF_SIMD", raising=False)
    wanted = lists()
    _, available = _native.simd_levels()
    for level in available:
        monkeypatch.setenv("ANCF_SIMD", level)
        used, _ = _native.simd_levels()
        assert used == level
        for found, truth in zip(lists(), wanted, strict=True):
            for mine, other in zip(found, truth, strict=True):
                np.testing.assert_array_equal(mine, other)


def test_a_level_that_is_not_there_is_refused(monkeypatch, tmp_path):
    ancf.from_factors(*np.eye(2, dtype=np.float32)[None].repeat(2, 0)).save(tmp_path / "shop.ancf")
    monkeypatch.setenv("ANCF_SIMD", "sse9")
    with pytest.raises(ValueError, match="this processor has scalar"):
        _native.simd_levels()
    # Nor is it the file that is wrong.
    with pytest.raises(ancf.InvalidParameterError, match=r"^ANCF_SIMD is"):
        ancf.load(tmp_path / "shop.ancf")


def blocks(path):
    """Lines with an unsafe block, comments left out."""
    code = (line.split("//")[0] for line in path.read_text().splitlines())
    return sum(len(re.findall(r"\bunsafe\s*\{", line)) for line in code)


def test_unsafe_blocks_are_counted_and_each_has_its_reason():
    found = {path.name: blocks(path) for path in sorted(SIMD.glob("*.rs"))}
    assert {name: n for name, n in found.items() if n} == UNSAFE
    for path in SIMD.parents[1].rglob("*.rs"):
        if path.parent != SIMD:
            assert not blocks(path), f"{path.name} has unsafe code outside runtime/simd"
    for path in SIMD.glob("*.rs"):
        lines = path.read_text().splitlines()
        for at, line in enumerate(lines):
            if re.search(r"\bunsafe\s*\{", line.split("//")[0]):
                before = "\n".join(lines[max(0, at - 4) : at + 1])
                assert "SAFETY" in before, f"{path.name}:{at + 1} has no reason"
