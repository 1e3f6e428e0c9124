"""P1: loading a model file never runs code, never crashes, never takes more memory than the file justifies."""

import importlib.util
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import ancf
from ancf import model_file

GOLDEN = Path(__file__).parents[1] / "golden"
ATTACKS = Path(__file__).parent / "attacks" / "model_files.py"

_spec = importlib.util.spec_from_file_location("attacks_model_files", ATTACKS)
attacks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(attacks)

HEADERS = attacks.headers()


def refused(path):
    try:
        model_file.read(path)
    except ancf.ModelFileError as error:
        return str(path) in str(error)
    return False


def test_every_flipped_bit_of_a_file_is_refused(tmp_path):
    raw = bytearray((GOLDEN / "ancf-1.popular.ancf").read_bytes())
    path = tmp_path / "flipped.ancf"
    path.write_bytes(raw)
    model_file.read(path)
    with path.open("r+b", buffering=0) as file:
        for at, byte in enumerate(raw):
            for bit in range(8):
                file.seek(at)
                file.write(bytes([byte ^ 1 << bit]))
                assert refused(path), f"byte {at}, bit {bit}"
            file.seek(at)
            file.write(bytes([byte]))
    model_file.read(path)


def test_every_cut_of_a_file_and_every_addition_is_refused(tmp_path):
    raw = (GOLDEN / "ancf-1.ancf.ancf").read_bytes()
    path = tmp_path / "cut.ancf"
    path.write_bytes(raw)
    with path.open("r+b", buffering=0) as file:
        for length in reversed(range(len(raw))):
            file.truncate(length)
            assert refused(path), f"the first {length} bytes"
    for more in (b"\0", b" ", b"\0" * 8, raw):
        path.write_bytes(raw + more)
        assert refused(path)


@pytest.mark.parametrize("name", HEADERS)
def test_a_hostile_header_is_refused_with_the_path_and_a_remedy(tmp_path, name):
    path = tmp_path / "hostile.ancf"
    path.write_bytes(HEADERS[name])
    with pytest.raises(ancf.ModelFileError, match=r"hostile\.ancf: .*\. .*(another copy|later ancf)"):
        ancf.load(path)


# What is loaded after its hashes were found right: the model itself must look at every part.
MUTATIONS = {
    "gone": lambda dtype, shape, raw: None,
    "empty": lambda dtype, shape, raw: (dtype, [0] * len(shape), b""),
    "flat": lambda dtype, shape, raw: (dtype, [int(np.prod(shape))], raw),
    "deep": lambda dtype, shape, raw: (dtype, [1, 1, *shape], raw),
    "without its last": lambda dtype, shape, raw: shortened(dtype, shape, raw),
    "ones": lambda dtype, shape, raw: (dtype, shape, b"\xff" * len(raw)),
    "zeros": lambda dtype, shape, raw: (dtype, shape, b"\0" * len(raw)),
    "largest": lambda dtype, shape, raw: (dtype, shape, (b"\xff" * 3 + b"\x7f") * (len(raw) // 4) + raw[:0]),
    "bytes": lambda dtype, shape, raw: ("U8", [len(raw)], raw),
    "as floats": lambda dtype, shape, raw: ("F32", [len(raw) // 4], raw[: len(raw) // 4 * 4]),
    "as wide numbers": lambda dtype, shape, raw: ("I64", [len(raw) // 8], raw[: len(raw) // 8 * 8]),
    "reversed": lambda dtype, shape, raw: (dtype, shape, raw[::-1]),
}
WIDTHS = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "U8": 1, "BOOL": 1}


def shortened(dtype, shape, raw):
    if not shape or not shape[0]:
        return None
    rest = [shape[0] - 1, *shape[1:]]
    return dtype, rest, raw[: int(np.prod(rest)) * WIDTHS[dtype]]


def parts_of(path):
    """Tensors and description of a file, read with the safetensors layout alone."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8 : 8 + length])
    about = head.pop("__metadata__")
    data = raw[8 + length :]
    tensors = {name: (each["dtype"], each["shape"], data[slice(*each["data_offsets"])]) for name, each in head.items()}
    return tensors, about["ancf"]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("ancf-1.*.ancf")), ids=lambda path: path.stem)
def test_a_file_with_right_hashes_and_wrong_parts_is_refused_or_harmless(tmp_path, path):
    tensors, metadata = parts_of(path)
    target = tmp_path / "sealed.ancf"
    target.write_bytes(attacks.sealed(tensors, metadata))
    assert target.read_bytes() == path.read_bytes(), "the sealing is not that of the format"
    refusals = 0
    for name, part in tensors.items():
        for how, mutation in MUTATIONS.items():
            changed = mutation(*part)
            others = {each: given for each, given in tensors.items() if each != name}
            target.write_bytes(attacks.sealed(others if changed is None else {**others, name: changed}, metadata))
            try:
                model = ancf.load(target)
            except ancf.ModelFileError:
                refusals += 1
                continue
            lists, scores = model.recommend_all(N=5)
            assert all(np.isfinite(row).all() for row in scores), f"{name} {how}"
            assert len(lists) == len(model.user_ids_)
            model.explain(model.user_ids_.values[0], model.item_ids_.values[0])
            repr(model.recommend(model.user_ids_.values[0], N=3))
    assert refusals > 5 * len(tensors)


DESCRIPTIONS = {
    "no object": "[]",
    "no JSON": "{",
    "not a number": '{"class": "Popular", "x": NaN}',
    "an unknown class": '{"class": "os.system"}',
    "a class of the standard library": '{"class": "subprocess.Popen", "options": {"args": "true"}}',
    "no class": "{}",
    "a class that is a list": '{"class": ["Popular"]}',
    "deep": "[" * 20_000,
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_that_makes_no_sense_is_refused(tmp_path, name):
    path = tmp_path / "described.ancf"
    path.write_bytes(attacks.sealed({}, DESCRIPTIONS[name]))
    with pytest.raises(ancf.ModelFileError, match=r"described\.ancf"):
        ancf.load(path)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("ancf-1.*.ancf")), ids=lambda path: path.stem)
def test_a_description_with_a_part_changed_is_refused_or_harmless(tmp_path, path):
    tensors, metadata = parts_of(path)
    about = json.loads(metadata)
    target = tmp_path / "described.ancf"
    wrong = [None, 0, -1, 1e308, "", "x", [], {}, [[]], {"a": 1}, True]
    cases = [({**about, key: value}, f"{key}={value!r}") for key in about for value in wrong]
    cases += [
        ({**about, "options": {**about["options"], key: value}}, f"options.{key}={value!r}")
        for key in about["options"]
        for value in wrong
    ]
    cases += [({key: value for key, value in about.items() if key != lost}, f"without {lost}") for lost in about]
    for changed, what in cases:
        target.write_bytes(attacks.sealed(tensors, json.dumps(changed, sort_keys=True)))
        try:
            model = ancf.load(target)
            model.recommend_all(N=3)
        except (ancf.ModelFileError, ancf.InvalidParameterError):
            continue
        except Exception as error:
            raise AssertionError(f"{what}: {error!r}") from error


_AUDITED = textwrap.dedent(
    """
    import sys
    import ancf, ancf.models
    ancf.load(sys.argv[1]).recommend_all(N=2)      # whatever is imported once is imported now
    seen = []
    watched = ("exec", "compile", "import", "marshal", "pickle", "ctypes", "subprocess", "os.", "code", "socket")
    sys.addaudithook(lambda event, details: seen.append(event) if event.startswith(watched) else None)
    for path in sys.argv[1:]:
        try:
            ancf.load(path)
        except ancf.ModelFileError:
            pass
    if seen:
        sys.exit(" ".join(sorted(set(seen))))
    """
)


def test_nothing_is_executed_imported_or_unpickled_by_loading(tmp_path):
    paths = [str(path) for path in sorted(GOLDEN.glob("*.ancf"))]
    n_golden = len(paths)
    for at, raw in enumerate([*HEADERS.values(), *(attacks.sealed({}, text) for text in DESCRIPTIONS.values())]):
        (tmp_path / f"{at}.ancf").write_bytes(raw)
        paths.append(str(tmp_path / f"{at}.ancf"))
    # Each golden class is imported by its first load; the child loads them all once before it listens.
    # What other packages have registered is looked up once, for the first class that is not ours.
    first = f"[ancf.models.all_models(), *(ancf.load(path) for path in sys.argv[1:{n_golden + 1}])][1]"
    child = _AUDITED.replace("ancf.load(sys.argv[1])", first)
    run = subprocess.run([sys.executable, "-c", child, *paths], capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr


_LIMITED = textwrap.dedent(
    """
    import os, resource, sys
    from ancf import model_file
    import ancf
    path, golden = sys.argv[1:]
    model_file.read(golden)
    try:
        model_file.read(__file__ if "__file__" in globals() else "/proc/self/environ")
    except Exception:
        pass
    held = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    size = os.path.getsize(path)
    # The allocator itself rounds to its own blocks of 132 KiB.
    limit = held + size + size // 10 + (1 << 20) + (160 << 10)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        from ancf import _native
        _native.load_model(path)
        print("loaded")
    except ancf.ModelFileError:
        print("refused")
    """
)


def limited(path):
    return subprocess.run(
        [sys.executable, "-c", _LIMITED, str(path), str(GOLDEN / "ancf-1.popular.ancf")],
        capture_output=True,
        text=True,
        timeout=100,
        env={"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"},
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on a process's memory is Linux's")
@pytest.mark.parametrize(
    "name",
    [
        "length of everything",
        "length of a terabyte",
        "a hundred thousand zeros",
        "a hundred thousand objects",
        "objects of one key",
        "a text of escapes",
        "two hundred thousand tensors",
        "a shape of 2^62",
        "a product that wraps to four",
        "brackets within brackets",
    ],
)
def test_a_hostile_file_takes_no_more_memory_than_it_justifies(tmp_path, name):
    path = tmp_path / "hostile.ancf"
    path.write_bytes(HEADERS[name])
    run = limited(path)
    assert (run.returncode, run.stdout) == (0, "refused\n"), run.stderr


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit on a process's memory is Linux's")
def test_a_file_is_read_within_a_tenth_and_a_mebibyte_above_its_size(tmp_path):
    path = tmp_path / "large.ancf"
    rng = np.random.default_rng(0)
    ancf.from_factors(rng.standard_normal((40_000, 64), np.float32), rng.standard_normal((4000, 64), np.float32)).save(
        path
    )
    run = limited(path)
    assert (run.returncode, run.stdout) == (0, "loaded\n"), run.stderr


def test_the_safetensors_library_reads_every_golden_file():
    from safetensors import safe_open
    from safetensors.numpy import load_file

    for path in sorted(GOLDEN.glob("*.ancf")):
        arrays, meta = model_file.read(path)
        theirs = load_file(path)
        assert theirs.keys() == arrays.keys()
        for name, array in arrays.items():
            assert array.dtype == theirs[name].dtype
            assert np.array_equal(array, theirs[name])
        with safe_open(path, "numpy") as file:
            assert json.loads(file.metadata()["ancf"]) == meta
