"""The OCI runtime wrapper: what it changes, and that it is runc afterwards."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rookery.machine import runc_without_caps
from rookery.machine.runc_without_caps import CAPABILITIES, drop_capabilities, process_file

# As containerd's shim calls runc.
GLOBAL = ["--root", "/var/run/docker/runtime-runc/moby", "--log", "/run/log.json", "--log-format", "json"]


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ([*GLOBAL, "create", "--bundle", "/run/b", "--pid-file", "/run/b/init.pid", "id"], "/run/b/config.json"),
        ([*GLOBAL, "--systemd-cgroup", "create", "--bundle=/run/b", "id"], "/run/b/config.json"),
        (["run", "-b", "/run/b", "id"], "/run/b/config.json"),
        (["create", "id"], "./config.json"),
        ([*GLOBAL, "exec", "--process", "/tmp/p", "--detach", "id"], "/tmp/p"),
        ([*GLOBAL, "exec", "-p", "/tmp/p", "id"], "/tmp/p"),
        (["exec", "id", "true"], None),
        (["--log=create", "kill", "id", "9"], None),
        (["--root", "create", "delete", "id"], None),
        ([*GLOBAL, "state", "exec"], None),
        (["--version"], None),
        ([], None),
    ],
)
def test_the_file_to_change_is_found_in_the_arguments(arguments, path):
    assert process_file(arguments) == path


@settings(deadline=None)  # it writes files, and the machine may be busy
@given(
    asked=st.lists(st.sampled_from(CAPABILITIES), unique=True),
    lacking=st.lists(st.sampled_from(CAPABILITIES), unique=True),
    whole=st.booleans(),
)
def test_exactly_what_is_lacking_is_dropped(tmp_path_factory, asked, lacking, whole):
    process = {"args": ["sh"], "capabilities": {"bounding": asked, "effective": asked, "ambient": None}}
    path = tmp_path_factory.mktemp("bundle") / "config.json"
    path.write_text(json.dumps({"process": process, "root": {}} if whole else process), encoding="utf-8")
    drop_capabilities(str(path), lacking)
    written = json.loads(path.read_text(encoding="utf-8"))
    left = [capability for capability in asked if capability not in lacking]
    expected = {"args": ["sh"], "capabilities": {"bounding": left, "effective": left, "ambient": []}}
    assert written == ({"process": expected, "root": {}} if whole else expected)


def test_a_spec_without_capabilities_stays_as_it_is(tmp_path):
    (tmp_path / "config.json").write_text('{"process": {"args": []}}', encoding="utf-8")
    drop_capabilities(str(tmp_path / "config.json"), ["CAP_SYS_RESOURCE"])
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8")) == {"process": {"args": []}}


def test_the_names_have_the_kernels_numbers():
    assert CAPABILITIES.index("CAP_SYS_ADMIN") == 21
    assert CAPABILITIES.index("CAP_SYS_RESOURCE") == 24
    assert CAPABILITIES.index("CAP_CHECKPOINT_RESTORE") == 40


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root and setpriv")
def test_with_a_smaller_bounding_set_it_drops_that_and_becomes_runc(tmp_path):
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\necho "$0 $@"\n', encoding="utf-8")
    runc.chmod(0o755)
    asked = ["CAP_CHOWN", "CAP_NET_RAW", "CAP_LATER_THAN_THIS_TABLE"]
    (tmp_path / "config.json").write_text(
        json.dumps({"process": {"capabilities": {"bounding": asked}}}), encoding="utf-8"
    )
    done = subprocess.run(
        ["setpriv", "--bounding-set", "-net_raw", sys.executable, runc_without_caps.__file__,
         "--log-format", "json", "create", "--bundle", str(tmp_path), "id"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, encoding="utf-8", timeout=30, check=True,
    )  # fmt: skip
    assert done.stdout == f"{runc} --log-format json create --bundle {tmp_path} id\n"
    left = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))["process"]["capabilities"]["bounding"]
    assert left == ["CAP_CHOWN", "CAP_LATER_THAN_THIS_TABLE"]
