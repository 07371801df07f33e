#!/usr/bin/env python3
"""Checks what compilers do not: links, the list of dependencies, names, and what a text must not hold.

Reads the files git knows. Prints every finding, exit 1 if there is one.
"""

import json
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

# Names that say nothing: as a file, module or type.
EMPTY_NAMES = {"common", "misc", "core", "base", "data", "info"}
# These not even as one word of a name.
EMPTY_WORDS = {"util", "utils", "helper", "helpers", "manager", "managers", "handler", "handlers"}
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b")
# Somebody's own machine.
LOCAL_PATH = re.compile(r"(?<![\w.~])/(root|work|home/\w+|Users/\w+)/")


def main():
    files = [Path(name) for name in run("git", "ls-files", "-co", "--exclude-standard").splitlines()]
    files = [file for file in files if file.is_file()]
    findings = []
    for check in (links, dependencies, names, texts):
        findings += check(files)
    print("\n".join(findings) if findings else f"{len(files)} files, nothing to say")
    return 1 if findings else 0


def links(files):
    """Every relative link names a file of the repository, every anchor a heading in it."""
    known = set(files) | {parent for file in files for parent in file.parents}
    for file in files:
        if file.suffix != ".md":
            continue
        for target in re.findall(r"\]\(<?([^)\s>]+)", prose(file)):
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            path, _, anchor = unquote(target).partition("#")
            linked = normal(file.parent / path) if path else file
            if linked not in known:
                yield f"{file}: link to {target}: no such file"
            elif anchor and linked.suffix == ".md" and anchor not in anchors(linked):
                yield f"{file}: link to {target}: no such heading"


def normal(path):
    """The path without `..`, as git names it."""
    parts = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


def prose(file):
    """The text without code, where brackets mean something else."""
    text = re.sub(r"^( *)(```+|~~~+).*?^ *\2`*~*$", "", file.read_text("utf-8"), flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(file):
    """The anchors that GitHub gives the headings: lower case, no punctuation, blanks as hyphens, repeats numbered."""
    text = re.sub(r"^( *)(```+|~~~+).*?^ *\2`*~*$", "", file.read_text("utf-8"), flags=re.M | re.S)
    found = set(re.findall(r'<a (?:id|name)="([^"]+)"', text))
    for heading in re.findall(r"^#{1,6} +(.+?)(?: +#+)? *$", text, flags=re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        repeats = 0
        while (name := f"{slug}-{repeats}" if repeats else slug) in found:
            repeats += 1
        found.add(name)
    return found


def dependencies(_files):
    """Each direct dependency of each package stands in docs/dependencies.md."""
    page = Path("docs/dependencies.md")
    text = page.read_text("utf-8") if page.is_file() else ""
    metadata = json.loads(run("cargo", "metadata", "--no-deps", "--locked", "--format-version", "1"))
    wanted = {d["name"] for package in metadata["packages"] for d in package["dependencies"] if "path" not in d}
    for name in sorted(wanted):
        if f"`{name}`" not in text:
            yield f"{page}: says nothing of `{name}`, which a Cargo.toml asks for"


def names(files):
    """Files, modules and types are named after what they are."""
    for file in files:
        candidates = {file.stem if file.suffix else file.name}
        if file.suffix == ".rs":
            candidates |= set(re.findall(r"\b(?:mod|struct|enum|trait|union|type) (\w+)", code(file)))
        for name in sorted(candidates):
            words = [word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)]
            if "".join(words) in EMPTY_NAMES or EMPTY_WORDS.intersection(words):
                yield f"{file}: {name} says nothing; name it after what it is or does"
        if file.suffix == ".rs":
            for name in re.findall(r"\bfn (get_\w+)", code(file)):
                yield f"{file}: fn {name}: leave out the get_"


def code(file):
    return re.sub(r"//.*", "", file.read_text("utf-8"))


def texts(files):
    """Nothing unfinished, no path of somebody's machine, no merge left over."""
    for file in files:
        if file == Path(".ci/check_docs.py"):
            continue
        try:
            lines = file.read_text("utf-8").splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            if UNFINISHED.search(line):
                yield f"{file}:{number}: unfinished: {line.strip()[:80]}"
            if LOCAL_PATH.search(line):
                yield f"{file}:{number}: a path of one machine: {line.strip()[:80]}"
            if re.match(r"(<{7}|>{7}) ", line):
                yield f"{file}:{number}: a merge conflict"


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


if __name__ == "__main__":
    sys.exit(main())
