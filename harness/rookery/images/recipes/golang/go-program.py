#!/usr/bin/python3
"""go-program MODULE VERSION [PACKAGE] -o FILE: build a program of a published Go module as its authors build it.

`go install MODULE/PACKAGE@VERSION` refuses modules whose go.mod has `replace` lines, as most of Kubernetes' have. So a
small module is made that requires the one wanted and repeats its `replace` lines. A line that names a folder of the
author's repository cannot be repeated; `--nested MODULE@VERSION` names what stands there in the registry, and
`--staging VERSION` does so for all of them (Kubernetes publishes its staging folders as modules of their own).

PACKAGE is an import path, or `.` for the main.go in the current folder (it must import from MODULE).
"""

import argparse
import json
import os
import subprocess
import sys


def edit_json(go_mod: str) -> dict:
    return json.loads(subprocess.check_output(["go", "mod", "edit", "-json", go_mod]))


def download(module: str, version: str) -> str:
    """The path of the module's go.mod."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", f"{module}@{version}"], stdout=subprocess.PIPE, check=False
    )
    if done.returncode != 0:
        sys.exit(f"{module}@{version}: {json.loads(done.stdout or '{}').get('Error', 'go mod download failed')}")
    return json.loads(done.stdout)["GoMod"]


def go_mod(options: argparse.Namespace) -> str:
    wanted = edit_json(download(options.module, options.version))
    nested = dict(pair.split("@") for pair in options.nested)
    lines = ["module rookery.invalid/program", f"go {wanted['Go']}", f"require {options.module} {options.version}"]
    lines += [f"godebug {entry['Key']}={entry['Value']}" for entry in wanted.get("Godebug") or []]
    lines += [f"require {module} {version}" for module, version in nested.items()]
    for replace in wanted.get("Replace") or []:
        old, new = replace["Old"], replace["New"]
        left = " ".join(filter(None, (old["Path"], old.get("Version"))))
        if "Version" in new:
            lines.append(f"replace {left} => {new['Path']} {new['Version']}")
        elif old["Path"] in nested:
            lines.append(f"replace {left} => {old['Path']} {nested[old['Path']]}")
        elif options.staging:
            lines.append(f"replace {left} => {old['Path']} {options.staging}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="go-program", description=__doc__)
    parser.add_argument("module")
    parser.add_argument("version")
    parser.add_argument("package", nargs="?")
    parser.add_argument("-o", dest="file", required=True)
    parser.add_argument("--nested", action="append", default=[], metavar="MODULE@VERSION")
    parser.add_argument("--staging", metavar="VERSION")
    parser.add_argument("--ldflags", default="")
    parser.add_argument("--tags", default="")
    options = parser.parse_args()
    if options.package != ".":
        os.makedirs("/tmp/program", exist_ok=True)
        os.chdir("/tmp/program")
    text = go_mod(options)  # before go.mod exists: go refuses to run beside an empty one
    with open("go.mod", "w") as file:
        file.write(text)
    # -mod=mod resolves and records what is missing, without the test dependencies that `go mod tidy` would fetch.
    flags = ["-mod=mod", "-tags", options.tags, "-ldflags", f"-s -w {options.ldflags}", "-o", options.file]
    subprocess.check_call(["go", "build", *flags, options.package or options.module])


if __name__ == "__main__":
    main()
