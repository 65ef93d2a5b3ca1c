"""What an accident or an attacker can do to a bundle, one test each: all of it refuses with exit code 4."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeClassifier

from aimed.bundle import members as members_module
from aimed.bundle.allow import load_estimator
from aimed.bundle.load import load
from aimed.bundle.members import MEGABYTE, checksum, dump, parse, sha256
from aimed.bundle.pack import pack
from aimed.bundle.schema import describe
from aimed.core import BundleError

MEMBERS = {
    "decision_tree": ["manifest.json", "schema.json", "pipeline.json", "model.json", "model.skops", "calibration.json",
                      "golden.json", "README.md"],
    "cox": ["manifest.json", "schema.json", "pipeline.json", "model.json", "calibration.json", "golden.json",
            "README.md"],
}  # fmt: skip
CASES = [(kind, name) for kind, names in MEMBERS.items() for name in names]


@pytest.fixture(scope="module")
def originals(lab, tmp_path_factory):
    root = tmp_path_factory.mktemp("originals")
    return {kind: lab.packed(kind, root / kind)[0] for kind in MEMBERS}


@pytest.fixture
def copy(originals, tmp_path):
    def make(kind="decision_tree"):
        return shutil.copytree(originals[kind], tmp_path / kind)

    return make


def refuse(folder, match=None):
    with pytest.raises(BundleError, match=match) as caught:
        load(folder)
    assert caught.value.exit_code == 4
    assert caught.value.got
    assert caught.value.expected
    return caught.value


def rehash(folder, **changed):
    """Do what a careful attacker does: write members and put their hashes in the manifest."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, data in changed.pop("files", {}).items():
        (folder / name).write_bytes(data)
        manifest["members"][name] = {"sha256": sha256(data), "bytes": len(data)}
    manifest.update(changed)
    manifest["checksum"] = checksum(manifest)
    (folder / "manifest.json").write_bytes(dump(manifest, pretty=True))


def test_the_list_of_members_is_complete(originals):
    for kind, names in MEMBERS.items():
        assert sorted(names) == sorted(p.name for p in originals[kind].iterdir())


@pytest.mark.parametrize(("kind", "name"), CASES)
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_one_flipped_byte(copy, kind, name, place):
    folder = copy(kind)
    data = bytearray((folder / name).read_bytes())
    data[int(place * (len(data) - 1))] ^= 1
    (folder / name).write_bytes(data)
    assert name in str(refuse(folder))


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_truncated(copy, kind, name):
    folder = copy(kind)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[: len(data) // 2])
    refuse(folder)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_missing(copy, kind, name):
    folder = copy(kind)
    (folder / name).unlink()
    assert name in str(refuse(folder))


def test_extra_file(copy):
    folder = copy()
    (folder / "extra.py").write_text("print('run me')")
    error = refuse(folder, "1 file that the manifest does not list")
    assert "extra.py" not in str(error)


def test_extra_folder(copy):
    folder = copy()
    (folder / "inner").mkdir()
    refuse(folder, "does not list")


@pytest.mark.parametrize("name", ["model.json", "manifest.json"])
def test_symlink(copy, tmp_path, name):
    folder = copy()
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    refuse(folder, "link")


def test_fifo_does_not_hang(copy):
    folder = copy()
    (folder / "model.json").unlink()
    os.mkfifo(folder / "model.json")
    refuse(folder, "plain file")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", ".hidden", "a\\b", "", "manifest.json", "c:x"])
def test_unsafe_names_in_the_manifest(copy, name):
    folder = copy()
    manifest = json.loads((folder / "manifest.json").read_bytes())
    rehash(folder, members={**manifest["members"], name: manifest["members"]["model.json"]})
    refuse(folder, "unsafe member name")


@pytest.mark.parametrize("members", [{}, None, [], {"model.json": None}, {f"m{i}": {} for i in range(100)}])
def test_manifest_with_a_strange_member_list(copy, members):
    folder = copy()
    rehash(folder, members=members)
    refuse(folder, "manifest.json lists")


@pytest.mark.parametrize("change", [{"schema": 2}, {"kind": "other"}, {"outcome": None}, {"outcome": {}}])
def test_manifest_with_other_content(copy, change):
    folder = copy()
    rehash(folder, **change)
    refuse(folder)


def test_huge_member_is_not_read(copy):
    folder = copy()
    with open(folder / "model.json", "wb") as file:
        file.truncate(65 * MEGABYTE)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    manifest["members"]["model.json"]["bytes"] = 65 * MEGABYTE
    rehash(folder, members=manifest["members"])
    refuse(folder, "larger than 64 MB")


def test_huge_manifest_is_not_read(copy):
    folder = copy()
    os.truncate(folder / "manifest.json", 2 * MEGABYTE)
    refuse(folder, "larger than 1 MB")


@pytest.mark.parametrize(
    "text",
    ['{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000, "[" * 100 + "]" * 100, "9" * 5000, "{", "\xff", "", "Infinity"],
)
def test_json_that_is_not_strict(text):
    with pytest.raises(BundleError, match="strict JSON"):
        parse(text.encode("latin-1"), "x.json")


def test_changed_golden_answers(copy):
    folder = copy()
    golden = json.loads((folder / "golden.json").read_bytes())
    case = next(c for c in golden["expected"] if c["risk"])
    case["risk"][0] += 2e-6
    rehash(folder, files={"golden.json": dump(golden)})
    refuse(folder, "1 of 48 golden cases have another answer")


def test_changed_coefficient_with_a_mended_hash(copy):
    folder = copy("cox")
    record = json.loads((folder / "model.json").read_bytes())
    record["state"]["coef"][0] += 0.001
    rehash(folder, files={"model.json": dump(record)})
    refuse(folder, "golden cases have another answer")


@pytest.mark.parametrize("golden", [None, {}, {"inputs": {}, "expected": []}, {"inputs": [1], "expected": [1]}])
def test_golden_cases_that_are_none(copy, golden):
    folder = copy()
    rehash(folder, files={"golden.json": dump(golden)})
    refuse(folder, "golden")


@pytest.mark.parametrize("name", ["schema.json", "pipeline.json", "model.json", "calibration.json", "golden.json"])
@pytest.mark.parametrize("value", [None, [], {}, 3, {"method": "sigmoid"}])
def test_members_that_hold_something_else(copy, name, value):
    folder = copy()
    if name == "calibration.json" and value is None:
        value = {"method": "os.system", "state": {}}
    rehash(folder, files={name: dump(value)})
    refuse(folder)


class Evil:
    """Runs when unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return (open, (self.proof, "w"))


def test_pickle_in_place_of_the_estimator(copy, tmp_path):
    folder = copy()
    proof = tmp_path / "executed"
    rehash(folder, files={"model.skops": pickle.dumps(Evil(str(proof)))})
    refuse(folder, "not a skops archive")
    assert not proof.exists()


def foreign():
    tree = DecisionTreeClassifier(max_depth=1).fit([[0.0], [1.0]], [0, 1])
    return {
        "another sklearn model that skops trusts": GaussianNB(),
        "a function to call": FunctionTransformer(os.system),
        "a pipeline around a good tree": Pipeline([("call", FunctionTransformer(np.exp)), ("tree", tree)]),
        "a class of one's own": Evil("x"),
        "a partial": functools.partial(os.system, "touch /tmp/never"),
    }


@pytest.mark.parametrize("what", foreign())
def test_foreign_types_in_the_estimator(copy, what):
    folder = copy()
    rehash(folder, files={"model.skops": skops.io.dumps(foreign()[what])})
    refuse(folder, "not on the fixed list")


def test_an_allowed_type_of_the_wrong_kind(lab, copy):
    folder = copy()
    rehash(folder, files={"model.skops": packed_members(lab, "random_forest")["model.skops"]})
    refuse(folder, "another kind of model")


def packed_members(lab, kind):
    from aimed.bundle.store import encode

    return encode(lab.fitted(kind)[0])


def rewrite(data, change):
    """Rebuild a skops archive with its schema changed."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, change(name, content))
    return out.getvalue()


def test_a_type_swapped_inside_the_archive(originals):
    data = (originals["decision_tree"] / "model.skops").read_bytes()
    evil = rewrite(data, lambda n, c: c.replace(b'"sklearn.tree._tree"', b'"os"') if n == "schema.json" else c)
    with pytest.raises(BundleError, match="not on the fixed list"):
        load_estimator(evil, DecisionTreeClassifier)


def test_a_loader_swapped_inside_the_archive(originals):
    data = (originals["decision_tree"] / "model.skops").read_bytes()
    evil = rewrite(data, lambda n, c: c.replace(b'"TypeNode"', b'"FunctionNode"') if n == "schema.json" else c)
    with pytest.raises(BundleError, match="not on the fixed list"):
        load_estimator(evil, DecisionTreeClassifier)


def test_entries_of_the_archive_are_arrays_only(originals):
    data = io.BytesIO((originals["decision_tree"] / "model.skops").read_bytes())
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("../../evil.py", "x")
    with pytest.raises(BundleError, match="no arrays"):
        load_estimator(data.getvalue(), DecisionTreeClassifier)


def test_zip_bomb_is_refused_before_it_unpacks(originals, monkeypatch):
    monkeypatch.setattr("aimed.bundle.allow._MAX_BYTES", 1000)
    with pytest.raises(BundleError, match="unpacks to more"):
        load_estimator((originals["decision_tree"] / "model.skops").read_bytes(), DecisionTreeClassifier)


@pytest.mark.parametrize("kind", ["decision_tree", "random_forest", "gradient_boosting"])
def test_trees_that_point_outside_themselves(lab, kind):
    """Compiled prediction follows child numbers without looking; a wild one must not get that far."""
    model, _ = lab.fitted(kind)

    def wild(name, content):
        if not name.endswith(".npy"):
            return content
        array = np.load(io.BytesIO(content), allow_pickle=False)
        fields = array.dtype.names or ()
        left = next((f for f in ("left_child", "left") if f in fields), None)
        if left is None:
            return content
        array = array.copy()
        array[left][0] = 10_000_000
        out = io.BytesIO()
        np.save(out, array, allow_pickle=False)
        return out.getvalue()

    from aimed.bundle.allow import dump_estimator

    evil = rewrite(dump_estimator(model.estimator), wild)
    with pytest.raises(BundleError, match=r"point outside|cannot be rebuilt"):
        load_estimator(evil, type(model.estimator))


def test_a_folder_that_is_no_bundle(tmp_path):
    refuse(tmp_path, "no manifest.json")
    refuse(tmp_path / "absent", "not a folder")


# Writing


def digest(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def beside(folder):
    return [p.name for p in folder.parent.iterdir() if p != folder]


@pytest.mark.parametrize("stop_at", [0, 1, 4, 6])
def test_a_full_disk_leaves_the_earlier_bundle(lab, copy, monkeypatch, stop_at):
    folder = copy()
    before = digest(folder)
    real, calls = members_module.write_member, []

    def full(path, data):
        if len(calls) == stop_at:
            path.write_bytes(data[:10])
            raise OSError(28, "No space left on device")
        calls.append(path)
        real(path, data)

    monkeypatch.setattr(members_module, "write_member", full)
    with pytest.raises(BundleError, match="No space left"):
        lab.packed("decision_tree", folder)
    assert digest(folder) == before
    assert beside(folder) == []
    load(folder)


def test_a_full_disk_leaves_nothing_where_nothing_was(lab, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(members_module, "write_member", full)
    with pytest.raises(BundleError):
        lab.packed("logistic", tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_the_last_rename_failing_brings_the_earlier_bundle_back(lab, copy, monkeypatch):
    folder = copy()
    before = digest(folder)
    real = members_module.Path.rename

    def rename(self, target):
        if ".packing-" in self.name:
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(members_module.Path, "rename", rename)
    with pytest.raises(BundleError, match="earlier bundle is untouched"):
        lab.packed("decision_tree", folder)
    assert digest(folder) == before
    assert beside(folder) == []


def test_what_a_killed_run_left_is_cleared_by_the_next(lab, copy):
    folder = copy()
    dead = folder.parent / f".{folder.name}.packing-dead"
    dead.mkdir()
    (dead / "model.json").write_text("half")
    load(folder)
    lab.packed("decision_tree", folder)
    assert beside(folder) == []


def test_a_bundle_set_aside_by_a_killed_run_comes_back(lab, copy, monkeypatch):
    folder = copy()
    before = digest(folder)
    folder.rename(folder.parent / f".{folder.name}.aside-dead")

    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(members_module, "write_member", full)
    with pytest.raises(BundleError):
        lab.packed("decision_tree", folder)
    assert digest(folder) == before


def test_packing_refuses_a_folder_with_other_things(lab, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("mine")
    with pytest.raises(BundleError, match="is no bundle"):
        lab.packed("logistic", tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "mine"


def test_a_model_that_answers_otherwise_after_storing_is_not_packed(lab, tmp_path):
    model, X = lab.fitted("logistic")
    original = model.estimator.to_state

    class Drifting(type(model.estimator)):
        def to_state(self):
            state = original()
            state["intercept"] += 0.1
            return state

    model.estimator.__class__ = Drifting
    with pytest.raises(BundleError, match="golden cases have another answer"):
        pack(model, tmp_path / "b", meta=lab.META, schema=describe(model, X))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../README.md", "model.json", "manifest.json", "a/b", ".x", "model.skops"])
def test_unsafe_or_taken_extra_members(lab, tmp_path, name):
    with pytest.raises(BundleError, match="unsafe or taken"):
        lab.packed("logistic", tmp_path / "b", extra_members={name: "x"})


def test_an_estimator_outside_the_list_cannot_be_packed(lab, tmp_path):
    model, X = lab.fitted("random_forest")
    model.estimator = GaussianNB().fit([[0.0], [1.0]], [0, 1])
    with pytest.raises(BundleError, match="not on the fixed list"):
        pack(model, tmp_path / "b", meta=lab.META, schema=describe(model, X))
