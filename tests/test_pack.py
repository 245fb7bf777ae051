"""Archives of roots: small, the same for the same root, read as the root is, and refused where they are not ours."""

import bz2
import io
import json
import math
import os
import random
import shutil
import stat
import struct
import tempfile
import warnings
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from planted_runs import plant, run
from test_adaptive import STUDY, recipes, sweep

from gan_ablate.cli import main
from gan_ablate.recipe import Recipe
from gan_ablate.store import archive, compact_log, unpack
from gan_ablate.store.archive import Refused, build, split
from gan_ablate.store.pack import pack
from gan_ablate.store.store import Store
from gan_ablate.study.study import Expansion, Study
from gan_ablate.sweep import pool
from gan_ablate.sweep.display import Display

CHECKPOINT = b"weights that no archive holds"


def log(seed):
    """A log as runs write it: float32 values with the digits of a float64, evaluations in float64."""
    rng = np.random.default_rng(seed)
    rows = [{"step": 0, "evaluation": {"step": 0, "fid": float(rng.normal(200, 9)), "is_std": None}}]
    rows += [{"step": s, "d_loss": float(np.float32(rng.normal())), "d_of_real": None} for s in range(1, 60)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A folder with `runs/planted`: results, failures, missing runs, logs, attempts, a checkpoint, a damaged result."""
    here = tmp_path_factory.mktemp("pack")
    root = plant(here / "runs" / "planted", seeds=4)
    for k, folder in enumerate(sorted((root / "runs").iterdir())):
        (folder / "metrics.jsonl").write_bytes(log(k) if k % 5 else b"\xff not ours \0\n")
        (folder / "recipe.json").write_text(json.dumps({"recipe": {"seed": k}}))
        ended = {
            "attempt": 1,
            "ended": datetime.fromtimestamp(1_791_720_000 + 60 * k, UTC).isoformat(),
            "outcome": "ok",
        }
        (folder / "attempts.jsonl").write_text(
            json.dumps({"attempt": 1, "started": "x"}) + "\n" + json.dumps(ended) + "\n"
        )
        for name in ("result.json", "failed.json"):  # published when the attempt ended
            if (folder / name).exists():
                os.utime(folder / name, (1_791_720_000 + 60 * k,) * 2)
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "last.ckpt").write_bytes(CHECKPOINT)
    (root / "runs" / run("dcgan", "base", 0) / "measured.json").write_text('{"metrics": {"checkerboard": 0.5}}')
    (root / "runs" / run("dcgan", "harmed", 1) / "result.json").write_text("{damaged")
    return here


@pytest.fixture
def here(planted, monkeypatch):
    monkeypatch.chdir(planted)
    if not Path("p.zip").exists():
        assert main(["pack", "runs/planted", "--out", "p.zip"]) == 0
    return planted


def tree(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def test_the_same_root_gives_the_same_bytes_wherever_it_lies_and_however_often_it_is_packed(here, tmp_path):
    shutil.copytree("runs/planted", tmp_path / "elsewhere", copy_function=shutil.copyfile)
    os.utime(tmp_path / "elsewhere" / "study.yaml", (1, 1))
    for argv in (["elsewhere", "2.zip"], [str(here / "p.zip"), "3.zip"]):
        assert main(["pack", str(tmp_path / argv[0]), "--out", str(tmp_path / argv[1])]) == 0
    assert main(["unpack", "p.zip", "--out", str(tmp_path / "root")]) == 0
    assert main(["pack", str(tmp_path / "root"), "--out", str(tmp_path / "4.zip")]) == 0
    kept = Path("p.zip").read_bytes()
    assert [(tmp_path / f"{k}.zip").read_bytes() == kept for k in (2, 3, 4)] == [True] * 3


def test_an_archive_has_all_files_but_checkpoints_and_grids_as_they_are(here, tmp_path):
    assert main(["unpack", "p.zip", "--out", str(tmp_path / "root")]) == 0
    before, after = tree("runs/planted"), tree(tmp_path / "root")
    assert {name for name in before if name not in after} == {n for n in before if n.endswith((".ckpt", "final.png"))}
    new = [name for name in after if name not in before]
    assert new
    assert all(name.endswith("samples/page.webp") for name in new)
    assert all(after[name] == before[name] for name in after if name in before)
    assert not any(
        CHECKPOINT in bz2.decompress(stream._packed) for stream in split(Path("p.zip").read_bytes()).values()
    )


def test_the_report_of_an_archive_is_that_of_its_root_byte_for_byte(here, tmp_path, capsys):
    for k, name in enumerate(("runs/planted", "p.zip")):
        assert main(["report", name, "--out", str(tmp_path / str(k))]) == 0
    told = capsys.readouterr()
    of_root, of_archive = (told.err.splitlines()[k : k + 4] for k in (0, 4))  # three sentences, then what is left
    assert of_root[3].startswith("runs/planted: unfinished")
    assert [line.replace("p.zip", "runs/planted") for line in of_archive] == of_root
    assert tree(tmp_path / "0") == tree(tmp_path / "1")
    page = (tmp_path / "1" / "report.html").read_text()
    assert page.count("data:image/webp") > 10
    assert "gan-ablate-" not in page + told.err


@pytest.mark.parametrize(
    "argv",
    [
        ["verdicts", "ROOT", "--json"],
        ["claims", "--root", "ROOT", "--json"],
        ["status", "ROOT"],
        ["report", "--compare", "ROOT", "ROOT", "--out", "moved"],
        ["next", "ROOT"],
        ["show", run("dcgan", "helped", 0)[:8], "--root", "ROOT"],
    ],
)
def test_what_reads_a_root_says_the_same_of_its_archive(here, tmp_path, monkeypatch, capsys, argv):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    said = []
    for name in ("runs/planted", "p.zip"):
        code = main([name if word == "ROOT" else word for word in argv])
        told = capsys.readouterr()
        said.append((code, (told.out + told.err).replace(name, "ROOT")))
    assert said[0] == said[1]
    assert said[0][1]
    assert not list(tmp_path.iterdir())


def test_archives_are_joined_as_roots_are(here, tmp_path, capsys):
    assert main(["merge", "p.zip", "runs/planted", "--out", str(tmp_path / "both")]) == 0
    results = lambda root: {n: b for n, b in tree(root).items() if n.endswith(("result.json", "failed.json"))}  # noqa: E731
    damaged = f"runs/{run('dcgan', 'harmed', 1)}/result.json"
    assert results(tmp_path / "both") == {k: v for k, v in results("runs/planted").items() if k != damaged}
    assert main(["merge", "p.zip", "runs/planted"]) == 2
    assert "give --out" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["sweep", "p.zip"], ["sweep", "STUDY", "--root", "p.zip"]])
def test_a_sweep_of_an_archive_says_to_unpack_it(here, capsys, argv):
    study = str(Path(__file__).parents[1] / "sweeps" / "smoke.yaml")
    assert main([study if word == "STUDY" else word for word in argv]) == 2
    assert "gan-ablate unpack p.zip --out ROOT" in capsys.readouterr().err


def test_nothing_of_anyone_is_written_over(here, tmp_path, capsys):
    (tmp_path / "thesis.zip").write_bytes(b"years of work")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis").write_bytes(b"years of work")
    assert main(["pack", "runs/planted", "--out", str(tmp_path / "thesis.zip")]) == 2
    assert main(["unpack", "p.zip", "--out", str(tmp_path / "full")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    assert set(tree(tmp_path).values()) == {b"years of work"}


def test_an_unpacked_sweep_goes_on_where_it_was_and_ends_as_if_it_had_never_been_packed(tmp_path):
    study = Study(name="fakes", source={})
    asked = Expansion(tuple(r for r in recipes() if r.seed < 3))
    how = {"run": "fake_runs:planted", "workers": 2, "display": Display(), "expansion": asked}
    pool.sweep(study, tmp_path / "whole", **how)
    first = pool.sweep(study, tmp_path / "begun", budget_runs=15, **how)
    assert (first.done, first.left) == (15, len(asked.recipes) - 15)
    (tmp_path / "p.zip").write_bytes(pack(tmp_path / "begun", {}))
    assert unpack.unpack(tmp_path / "p.zip", tmp_path / "on") == 15
    finished = [r.run_id for r in asked.recipes if (tmp_path / "on" / "runs" / r.run_id / "result.json").exists()]
    rest = pool.sweep(study, tmp_path / "on", **how)
    assert (rest.skipped, rest.done, rest.left) == (15, len(asked.recipes) - 15, 0)
    assert not any((tmp_path / "on" / "runs" / run_id / "starts").exists() for run_id in finished)
    fids = [[r["metrics"]["fid"] for r in Store.open(tmp_path / name).results()] for name in ("whole", "on")]
    assert fids[0] == fids[1]


def test_an_adaptive_sweep_has_the_same_next_runs_from_its_archive(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep(Path("root"), budget_runs=60)
    assert STUDY.seed_plan is not None
    Path("p.zip").write_bytes(pack(Path("root"), {}))
    said = []
    for name in ("root", "p.zip"):
        assert main(["next", name]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "runs; the sweep's own command trains them" in said[0]


@pytest.mark.parametrize("seed", range(5))
def test_a_log_comes_back_bit_for_bit(seed):
    rng = random.Random(seed)
    values = [rng.choice((rng.gauss(0, 1), struct.unpack("f", struct.pack("f", rng.gauss(0, 10 ** rng.randint(-30, 30))))[0]))
              for _ in range(500)]  # fmt: skip
    texts = ["NaN", "1e999", "-0.0", "0.10", "1.0E5", "00.5", "1.5.5", "0.1e+5", *map(repr, values)]
    for text in (" ".join(texts), json.dumps(values), ""):
        short = compact_log.encode(text.encode())
        assert short is not None
        assert compact_log.decode(*short).decode() == text
        assert compact_log.count(short[0]) == len(short[1])
    assert compact_log.encode(b"\xff") is None
    assert compact_log.encode(b"a\0b") is None


def test_logs_take_a_tenth_of_their_room():
    texts = [log(k) for k in range(50)]
    short = [compact_log.encode(text) for text in texts]
    packed = sum(len(bz2.compress(b"".join(part))) for part in zip(*short, strict=True))
    assert packed < 0.11 * sum(map(len, texts))


# What is refused


GOOD = {
    "index.json": json.dumps({"schema": 1, "study": 2, "runs": ["0" * 16], "sizes": {"result.json": [3]}}).encode(),
    "study.yaml": b"{}",
    "result.json": b"{ }",
}


def zipped(members, **more):
    """A zip of (name or ZipInfo, bytes) pairs."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", **more) as file:
        warnings.simplefilter("ignore")  # of names that are given twice
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def good(**streams):
    return [(f"{name}.bz2", bz2.compress(text)) for name, text in {**GOOD, **streams}.items()]


def indexed(**change):
    return build({**GOOD, "index.json": json.dumps({**json.loads(GOOD["index.json"]), **change}).encode()})


def of_mode(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr, info.create_system = mode << 16, 3
    return info


def flagged(data, bits):
    """With bits set in the flags of the last member, in both headers."""
    changed = bytearray(data)
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        changed[changed.rindex(mark) + offset] |= bits
    return bytes(changed)


def wrong_crc(data):
    at = data.index(b"BZh9", data.index(b"result.json.bz2")) + 12
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def claiming_to_be_huge():
    """A list of members that says it goes on for gigabytes."""
    data = bytearray(build(GOOD))
    data[-12:-8] = struct.pack("<H", 65535) * 2
    data[-10:-6] = struct.pack("<I", 2**32 - 2)
    return bytes(data)


ZEROS = 100_000_000
BOMB = bz2.compress(bytes(ZEROS))
HOSTILE = {
    "path traversal": (zipped([*good(), ("../../evil", b"x")]), "leads out of it"),
    "traversal the other way": (zipped([*good(), ("..\\evil", b"x")]), "leads out of it"),
    "absolute path": (zipped([*good(), ("/tmp/evil", b"x")]), "leads out of it"),
    "drive": (zipped([*good(), ("C:evil", b"x")]), "leads out of it"),
    "symlink": (zipped([*good()[:2], (of_mode("result.json.bz2", stat.S_IFLNK | 0o777), b"/etc/passwd")]), "is a link"),
    "device": (zipped([*good()[:2], (of_mode("result.json.bz2", stat.S_IFCHR | 0o666), b"")]), "is a device"),
    "folder": (zipped([*good(), ("runs/", b"")]), "unknown member"),
    "a name twice": (zipped([*good(), good()[2]]), "twice"),
    "names that differ in case": (zipped([*good(), ("Result.json.bz2", b"x")]), "some file systems"),
    "names that differ in form": (zipped([*good(), ("ｒesult.json.bz2", b"x")]), "some file systems"),
    "unknown file": (zipped([*good(), ("runs/0/result.json", b"x")]), "unknown member"),
    "a name with an end in it": (zipped([*good(), ("qq", b"")]).replace(b"qq", b"q\0"), "unknown member"),
    "deflated bomb": (zipped([(n, bytes(9_000_000)) for n, _ in good()], compression=zipfile.ZIP_DEFLATED), "was not written by"),
    "bzip2 bomb": (zipped([*good()[:2], ("result.json.bz2", BOMB)]), "longer than the index says"),
    "bomb of an index": (zipped([("index.json.bz2", BOMB), *good()[1:]]), "unpacks to over"),
    "bomb with an index to match": (
        zipped([("index.json.bz2", bz2.compress(json.dumps({"schema": 1, "study": 2, "runs": [f"{k:016x}" for k in range(6)],
         "sizes": {"result.json": [50_000_000] * 6}}).encode())), good()[1], ("result.json.bz2", BOMB)]), "times its size"),
    "too much in all": (indexed(runs=[f"{k:016x}" for k in range(20)], sizes={"result.json": [60_000_000] * 20}), "unpacks to over"),
    "a file too large": (indexed(sizes={"result.json": [64_000_001]}), "index is damaged"),
    "too many members": (zipped([(f"{k}", b"") for k in range(5000)]), "5000 members"),
    "a list of members without end": (claiming_to_be_huge(), "members"),
    "too many runs": (indexed(runs=[f"{k:016x}" for k in range(100_001)], sizes={}), "index is damaged"),
    "truncated": (build(GOOD)[:-9], "cut short"),
    "something behind": (build(GOOD) + b"MZ", "cut short"),
    "something before": (b"PK\3\4" + build(GOOD), "belong to no member"),
    "something between": (build(GOOD).replace(b"PK\1\2", b"evil" + b"PK\1\2", 1), "belong to no member"),
    "wrong CRC": (wrong_crc(build(GOOD)), "damaged"),
    "encrypted": (flagged(build(GOOD), 1), "encrypted"),
    "no zip": (b"schema: 2\n", "no zip"),
    "empty": (b"", "no zip"),
    "an empty zip": (zipped([]), "no index.json.bz2 in it"),
    "another zip": (zipped([("cat.png", b"x")]), "no index.json.bz2 in it"),
    "a run that leads out": (indexed(runs=["../../../../evil"]), "index is damaged"),
    "a run twice": (indexed(runs=["0" * 16] * 2, sizes={"result.json": [1, 2]}), "index is damaged"),
    "a negative size": (indexed(sizes={"result.json": [-3]}), "index is damaged"),
    "an unknown kind": (indexed(sizes={"checkpoints/last.ckpt": [3]}), "index is damaged"),
    "more than the index says": (indexed(sizes={"result.json": [2]}), "longer than the index says"),
    "less than the index says": (indexed(sizes={"result.json": [4]}), "ends early"),
    "another version's": (indexed(schema=2), "another version"),
    "a stream that is no bzip2": (zipped([*good()[:2], ("result.json.bz2", b"gzip?")]), "is damaged"),
    "no study in it": (build(GOOD), "schema"),
    "an index that nests": (build({**GOOD, "index.json": b"[" * 200_000}), "index is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_in_one_line_with_nothing_left_behind(name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    data, message = HOSTILE[name]
    Path("a.zip").write_bytes(data)
    for argv in (["report", "a.zip", "--out", "page"], ["unpack", "a.zip", "--out", "root"], ["status", "a.zip"]):
        assert main(argv) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("gan-ablate: a.zip")
        assert message in line
        assert "gan-ablate-" not in line
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]


def test_a_run_that_no_cell_asks_for_is_refused(here, tmp_path, capsys):
    study = (here / "runs" / "planted" / "study.yaml").read_bytes()
    index = {"schema": 1, "study": len(study), "runs": ["0" * 16], "sizes": {"result.json": [3]}}
    (tmp_path / "a.zip").write_bytes(build({**GOOD, "index.json": json.dumps(index).encode(), "study.yaml": study}))
    assert main(["report", str(tmp_path / "a.zip"), "--out", str(tmp_path / "page")]) == 2
    assert "is none of its study's" in capsys.readouterr().err


def test_links_and_devices_in_place_of_an_archive_or_a_file_of_a_root_are_refused(here, tmp_path, capsys):
    shutil.copytree("runs/planted", tmp_path / "root")
    (tmp_path / "link.zip").symlink_to(here / "p.zip")
    result = tmp_path / "root" / "runs" / run("dcgan", "base", 0) / "result.json"
    result.unlink()
    result.symlink_to("/etc/passwd")
    assert main(["status", str(tmp_path / "link.zip")]) == 2
    assert main(["pack", str(tmp_path / "root"), "--out", str(tmp_path / "a.zip")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert ["not a regular file" in line for line in lines] == [True, True]
    assert not (tmp_path / "a.zip").exists()


def test_whatever_byte_is_wrong_an_archive_gives_the_same_files_or_none(here):
    data, rng = Path("p.zip").read_bytes(), random.Random(0)
    files = list(unpack.contents(data))
    directory = struct.unpack("<I", data[-6:-2])[0]
    places = [rng.randrange(len(data)) for _ in range(40)] + [rng.randrange(directory, len(data)) for _ in range(160)]
    refused = 0
    for at in places:
        changed = bytearray(data)
        changed[at] ^= 1 << rng.randrange(8)
        try:
            assert list(unpack.contents(bytes(changed))) == files
        except Refused:
            refused += 1
    assert refused > 100


def test_a_stranger_s_picture_is_shown_only_if_it_could_be_ours(here, tmp_path):
    from PIL import Image

    from gan_ablate.report.figures import samples

    for name, size, kind in (("large", (500, 500), "WEBP"), ("png", (9, 9), "PNG"), ("good", (200, 99), "WEBP")):
        Image.effect_noise(size, 50).convert("RGB").save(tmp_path / name, kind)
    (tmp_path / "page").write_bytes(b"<script>")
    ready = {name: samples._ready(tmp_path / name) for name in ("large", "png", "page", "none", "good")}
    assert [name for name, found in ready.items() if found] == ["good"]
    assert ready["good"] == ((tmp_path / "good").read_bytes(), (200, 99))


def test_a_study_of_ten_thousand_cells_and_few_runs_packs(tmp_path):
    asked = [Recipe(seed=k, steps=2) for k in range(10_000)]
    store = Store.create(tmp_path / "root", name="many", source={}, recipes=asked)
    for recipe in asked[:3]:
        with store.claim(recipe.run_id) as claim:
            claim.publish_result(
                {"recipe": recipe.to_dict(), "outcome": "ok", "metrics": {"fid": math.pi}, "labels": {}}
            )
    data = pack(tmp_path / "root", {})
    assert len(data) < 200_000
    assert {run_id for run_id, name, _ in unpack.contents(data) if name == "result.json"} == {
        r.run_id for r in asked[:3]
    }
    assert archive.split(data).keys() >= {"study.yaml", "index.json", "result.json"}
