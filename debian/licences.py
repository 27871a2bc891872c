#!/usr/bin/env python3
"""Prints the licences of scat and of everything that is linked into the program. They must
accompany every copy of the program.

    python3 debian/licences.py > target/licences.txt

Reads the sources that cargo has downloaded, so run it after the build. Exits with 1 if it
finds no licence text for a crate.
"""

import json
import pathlib
import subprocess
import sys


def output(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked():
    """Returns the crates whose code is in the program, without macros and build scripts."""
    host = output("rustc", "--print", "host-tuple").strip()
    metadata = json.loads(
        output("cargo", "metadata", "--locked", "--format-version=1", "--filter-platform", host)
    )
    packages = {package["id"]: package for package in metadata["packages"]}
    needs = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    seen, left = set(), [metadata["resolve"]["root"]]
    while left:
        package = left.pop()
        is_macro = any("proc-macro" in target["kind"] for target in packages[package]["targets"])
        if package in seen or is_macro:
            continue
        seen.add(package)
        left += [
            need["pkg"]
            for need in needs[package]
            if any(kind["kind"] is None for kind in need["dep_kinds"])
        ]
    return sorted((packages[package] for package in seen), key=lambda package: package["name"])


def licences(package):
    """Returns the licence texts of a crate; only MIT if it can be chosen."""
    folder = pathlib.Path(package["manifest_path"]).parent
    files = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name.upper().startswith(("LICENSE", "COPYING", "COPYRIGHT", "NOTICE"))
    )
    mit = [path for path in files if path.name.upper().startswith("LICENSE-MIT")]
    if " OR " in package["license"].replace("/", " OR ") and mit:
        files = mit + [path for path in files if not path.name.upper().startswith("LICENSE")]
    return [path.read_text().strip() for path in files]


def main():
    crates = linked()
    own = next(package for package in crates if package["name"] == "scat")
    print(f"scat {own['version']}\n\n{licences(own)[0]}\n")
    print("It is linked with Rust's standard library (https://github.com/rust-lang/rust),")
    print("Copyright (c) The Rust Project Contributors, under the same MIT licence as below,")
    print("and with these crates:\n")
    owners = {}
    for package in crates:
        if package is own:
            continue
        texts = licences(package)
        if not texts:
            sys.exit(f"{package['name']}: no licence in its source")
        print(f"  {package['name']} {package['version']}: {package['license']}")
        for text in texts:
            owners.setdefault(text, []).append(package["name"])
    for text, names in owners.items():
        print(f"\n{'-' * 72}\n{', '.join(names)}\n\n{text}")


main()
