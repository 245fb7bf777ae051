"""The dashboard: what it shows, that it keeps up and goes on, and whom it answers."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from chromium_pipe import CHROMIUM, tab
from planted_runs import HOSTILE, VERDICTS, plant, planted, result, run
from test_report_page import Reader

from gan_ablate.cli import main
from gan_ablate.dashboard import watched
from gan_ablate.dashboard.server import Server
from gan_ablate.dashboard.watched import Watched
from gan_ablate.findings.looks import open_root
from gan_ablate.report import report
from gan_ablate.store.store import Store

SEEDS = {"base": 8, "looks": [4, 8], "until": "decided"}
OPEN = ("dcgan", "null", 7)  # the cell of dcgan that `plant` leaves without a run
STRANGERS = ("evil.example", "127.0.0.1.evil.example", "localhost:x", "127.0.0.2")
ELSEWHERE = "/../study.yaml /study.yaml /runs/ /report/ /live/x /%2e%2e/study.yaml http://localhost/ /page.js".split()


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    """Looks and findings follow each other without a pause."""
    monkeypatch.setattr(watched, "SHARE", 0)


@pytest.fixture
def root(tmp_path):
    """An adaptive study's root."""
    plant(tmp_path / "root", seeds=8)
    study = yaml.safe_load((tmp_path / "root" / "study.yaml").read_text()) | {"source": {"seeds": SEEDS}}
    (tmp_path / "root" / "study.yaml").write_text(yaml.safe_dump(study))
    return tmp_path / "root"


@contextmanager
def served(root, every=0.0):
    with Server(Watched(root, every), 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        until(lambda: server.watched.look().found)
        yield server
        server.shutdown()


def until(true, seconds=60):
    end = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def ask(server, path="/", method="GET", **headers):
    """(status, headers, text)."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=60)
    host = headers.pop("Host", f"127.0.0.1:{server.server_port}")
    connection.putrequest(method, path, skip_host=True)
    for name, value in ([("Host", h) for h in (host if isinstance(host, list) else [host])]) + [*headers.items()]:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read().decode()


def live(server, have=()):
    return json.loads(ask(server, f"/live?have={','.join(have)}")[2])


def finish(root, model, arm, seed, fid):
    folder = root / "runs" / run(model, arm, seed)
    folder.mkdir(exist_ok=True)
    (folder / "result.json").write_text(json.dumps(result(model, arm, seed, fid)))


def tree(root):
    """All files with their times and sizes."""
    return {p: (p.lstat().st_mtime_ns, p.lstat().st_size) for p in root.rglob("*")}


def test_the_page_says_what_status_and_the_report_say_and_writes_nothing(root):
    before = tree(root)
    with served(root) as server:
        status, headers, page = ask(server)
        whole = ask(server, "/report")[2]
    assert status == 200
    assert tree(root) == before
    read = Reader(page)
    assert read.open == []
    ids = [a["id"] for _, a in read.seen if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"][1:] for a in read.all("a") if a["href"].startswith("#")}
    assert links <= set(ids)
    assert [a["id"] for a in read.all("section") if a["id"] in json.loads(read.all("main")[0]["data-tags"])] == [
        "next", "now", "curves", "verdicts", "samples", "progress",
    ]  # fmt: skip
    assert [a.get("role") for _, a in read.seen if a.get("role") in ("status", "alert")] == [
        "status"
    ]  # one is read out
    assert not [a for _, a in read.seen if "aria-live" in a]
    opened = open_root(root)
    assert opened is not None
    assert opened.describe()
    assert all(line in page for line in opened.describe())
    assert "92 of 96 runs are done, 0 running, 2 left, 2 crashed: no sweep is running." in page
    rows = re.findall(r"<th scope='row'>([^<]*(?:<wbr>[^<]*)*)</th><td[^>]*>([^<]*)</td><td[^>]*>dcgan</td>", page)
    told = {arm.replace("<wbr>", ""): verdict.removesuffix(", certain") for arm, verdict in rows}
    assert {arm: told[arm] for arm in ("helped", "harmed", "died")} == {
        a: VERDICTS[a] for a in ("helped", "harmed", "died")
    }
    assert page.count("data:image/webp;base64,") >= 2 + 4  # base of both models, and newest runs
    assert HOSTILE not in page
    assert "<script>alert" not in page
    script = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script[0].encode()).digest()).decode()
    policy = headers["Content-Security-Policy"]
    assert len(script) == 1
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert whole == report([root], root.parent / "out", partial=True).read_text()


def test_a_run_is_seen_while_it_is_trained_and_once_it_is_finished(root):
    folder = root / "runs" / run(*OPEN)
    with served(root) as server:
        first = live(server)
        tags = [s["tag"] for s in first["sections"]]
        assert all("html" in s for s in first["sections"])
        assert [s for s in live(server, tags)["sections"] if "html" in s] == []  # nothing has changed
        kept = server.report()
        assert server.report() is kept
        with Store(root).claim(run(*OPEN)) as claim:
            assert claim
            recipe = planted(*OPEN) | {"steps": 100}
            (folder / "recipe.json").write_text(json.dumps({"recipe": recipe}))
            rows = [{"step": s, "evaluation": {"step": s, "fid": f}} for s, f in ((0, 900.0), (20, 77.25), (40, 66.25))]
            (folder / "metrics.jsonl").write_text(
                "\n".join(map(json.dumps, [*rows, {"step": 63, "d_loss": 1.0}])) + '\n{"st'
            )
            going = live(server, tags)
            text = {s["id"]: s.get("html", "") for s in going["sections"]}
            assert ", 1 running, 1 left" in going["line"]
            assert "<td>running</td><td>dcgan</td><td>63 of 100</td><td>66.2</td>" in text["now"]
            assert "Being trained" in text["curves"]
            assert "null, seed 7 against generator steps, 1 seeds: 66.2 after 40" in text["curves"]
            assert text["verdicts"] == ""
        assert "no sweep is running" in live(server)["line"]  # killed
        finish(root, *OPEN, 55.5)
        done = live(server)
        assert done["done"] == first["done"] + 1
        assert "<td>55.5</td>" in {s["id"]: s["html"] for s in done["sections"]}["now"]
        until(lambda: len(server.watched.look().found.published) == done["done"])
        assert server.report() is not kept


def test_it_goes_on_where_the_root_is_damaged_or_gone_and_says_so(root):
    with served(root) as server:
        page = ask(server)[2]
        assert "class='note' role='note'>What" not in page
        text = (root / "study.yaml").read_bytes()
        (root / "study.yaml").write_text("name: [")
        told = live(server)
        assert "study.yaml: cannot be read" in told["notes"][0]
        assert len(told["sections"]) == 6
        assert ask(server)[0] == 200
        assert ask(server, "/report")[0] == 503
        (root / "study.yaml").write_bytes(text)
        assert live(server)["notes"] == []
        (root / "runs" / run("dcgan", "base", 0) / "result.json").write_text("{")
        until(lambda: "1 files cannot be used" in "".join(live(server)["notes"]))
        shutil.move(root, root.with_name("elsewhere"))
        assert "no such folder" in "".join(live(server)["notes"])
        shutil.move(root.with_name("elsewhere"), root)
        assert "no such folder" not in "".join(live(server)["notes"])


def test_it_answers_this_machine_and_three_paths_only(root):
    with served(root) as server:
        port = server.server_port
        for host in ("127.0.0.1", "localhost", f"LOCALHOST:{port}", "localhost:9000"):
            assert ask(server, "/live", Host=host)[0] == 200
        for host in [*STRANGERS, f"evil.example:{port}", "", [], ["localhost", "evil.example"]]:
            assert ask(server, "/live", Host=host)[0] == 403, host
        for path in ELSEWHERE:
            assert ask(server, path)[0] == 404, path
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"):
            status, headers, _ = ask(server, "/", method)
            assert (status, headers["Allow"]) == (405, "GET")
        assert ask(server, "/", "BREW")[0] == 501
        listening = [
            line.split()[1] for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
            if line.split()[3] == "0A" and line.split()[1].endswith(f":{port:04X}")
        ]  # fmt: skip
        assert listening == [f"0100007F:{port:04X}"]
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", port), timeout=5)


def test_what_cannot_be_served_is_one_line(root, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "study.yaml").write_text("[")
    (tmp_path / "results.zip").write_bytes(b"PK")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for words, said in (
            ([str(root), "--port", str(port)], f"127.0.0.1:{port} is in use"),
            ([str(root), "--port", "70000"], "1 to 65535"),
            ([str(tmp_path / "nowhere")], "no such folder"),
            ([str(tmp_path / "empty")], "no study here"),
            ([str(tmp_path / "broken")], "cannot be read"),
            ([str(tmp_path / "results.zip")], "gan-ablate unpack"),
        ):
            assert main(["dashboard", *words]) == 2
            out, error = capsys.readouterr()
            assert out == ""
            assert said in error
            assert error.count("\n") == 1


def test_ctrl_c_ends_it_quietly(root):
    command = [sys.executable, "-m", "gan_ablate", "dashboard", str(root), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().split()[0]
        connection = http.client.HTTPConnection(url.removeprefix("http://").strip("/"), timeout=60)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
def test_what_the_reader_did_stays_when_the_page_updates_itself(root, tmp_path):
    arms = (
        "[...document.querySelectorAll('#verdicts tbody tr')].filter(r => !r.hidden).map(r => r.cells[0].textContent)"
    )
    with served(root) as server, tab(tmp_path / "profile") as browser:
        browser.visit(server.url, 390, 800)
        assert browser.run("document.documentElement.scrollWidth") == 390
        order = browser.run(
            "document.querySelectorAll('#verdicts details')[0].open = true;"
            "document.querySelector('#progress details').open = true;"
            "(() => { const t = document.querySelector('#verdicts table'), f = t.closest('.scroll').previousElementSibling;"
            "const b = [...t.querySelectorAll('button')].find(b => b.textContent === 'arm'); b.click(); b.click();"
            "const i = f.querySelector('input'); i.value = 'dcgan'; i.dispatchEvent(new Event('input')); i.focus();"
            "t.closest('.scroll').scrollLeft = 40; window.old = document.getElementById('verdicts');"
            f"window.y = i.getBoundingClientRect().top; return {arms} }})()"
        )
        assert len(order) == 5
        finish(root, *OPEN, 30.0)
        finish(root, "dcgan", "harmed", 0, 300.0)  # of a look that has been taken: a ratio changes
        until(lambda: browser.run("document.getElementById('verdicts') !== window.old"))
        until(lambda: browser.run("document.getElementById('live.bar').value") == 95)
        assert browser.run(arms) == order
        assert browser.run("document.activeElement.matches('#verdicts input')")
        assert browser.run("document.activeElement.value") == "dcgan"
        assert abs(browser.run("document.activeElement.getBoundingClientRect().top - window.y")) < 2
        assert browser.run("document.querySelector('#verdicts .scroll').scrollLeft") == 40
        assert browser.run("[...document.querySelectorAll('details')].filter(d => d.open).length") == 2
        assert browser.complaints == []
        server.shutdown()
        server.server_close()
        until(lambda: "No answer" in browser.run("document.querySelector('[role=status]').textContent"))
