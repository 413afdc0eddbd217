"""ARCHITECTURE.md is the map: its tables hold every file, folder and arrow of the code, no other.

A table describes one folder: a row for each file and each sub-folder in it. A file is keyed by its
path below the root without a suffix, so that two files of one stem are two rows. A file's arrows
name every file that it stands on; a folder's arrows name those of its siblings that any file below
it stands on. `faults` does the work on any tree; the tests below give it this project, and small
trees that are each broken in one way.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]
CORE = "cpp"
LIBRARY = "src/edgeward"

Arrows = dict[str, set[str]]


# --- the code ----------------------------------------------------------------------------------


def includes(root: Path) -> tuple[Arrows, list[str]]:
    """What each C++ file includes of the others, and what cannot be told."""
    arrows: Arrows = {}
    faults: list[str] = []
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    keys = {path.relative_to(root).with_suffix("").as_posix() for path in paths}
    for path in paths:
        name = path.relative_to(root)
        if path.suffix not in {".h", ".cc"}:
            faults.append(f"{name}: expected a .h or .cc file")
            continue
        key = name.with_suffix("").as_posix()
        targets = arrows.setdefault(key, set())
        for kind, target in re.findall(
            r'^[ \t]*#[ \t]*include[ \t]*([<"])([^">]+\.h)[">]', path.read_text(), re.M
        ):
            included = target.removesuffix(".h")
            if included in keys:
                targets.add(included)
            elif kind == '"':
                faults.append(f'{name}: includes "{target}", which is not a header below the root')
        targets.discard(key)
    return arrows, faults


def imports(root: Path) -> tuple[Arrows, list[str]]:
    """What each Python module imports of the others, at the top, inside functions or by name.

    A string that is the full dotted name of a module counts too: it is how a table of commands
    names what it will import. The `__init__` of a sub-folder has no row, so it may hold nothing.
    """
    package = root.name
    arrows: Arrows = {}
    faults: list[str] = []
    paths = sorted([*root.rglob("*.py"), *root.rglob("*.pyi")])
    modules = {dotted(root, path): path for path in paths}
    for module, path in modules.items():
        name = path.relative_to(root)
        key = name.with_suffix("").as_posix()
        tree = ast.parse(path.read_text())
        if name.stem == "__init__" and name.parent != Path():
            if any(not isinstance(node, ast.Expr) for node in tree.body):
                faults.append(f"{name}: expected a docstring at most")
            continue
        targets = arrows.setdefault(key, set())
        for target in imported(tree):
            if target == ".":
                faults.append(f"{name}: a relative import")
                continue
            known = [part for part in prefixes(target) if part in modules]
            if target.split(".")[0] == package and known:
                targets.add(modules[known[0]].relative_to(root).with_suffix("").as_posix())
        targets.discard(key)
        if module == f"{package}._core":
            targets.add("errors")  # the core takes its error classes from there
    for key, targets in arrows.items():
        for target in sorted(target for target in targets if target not in arrows):
            faults.append(f"{key}: imports {target}, which has nothing to give")
    return arrows, faults


def dotted(root: Path, path: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def prefixes(name: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a`: the longest first."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def imported(tree: ast.Module) -> Iterator[str]:
    """Dotted names of what a module imports; "." for a relative import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield "."
            else:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"\w+(\.\w+){2,}", node.value)
        ):
            yield node.value


# --- the map -----------------------------------------------------------------------------------


def tables(text: str) -> tuple[dict[str, Arrows], list[str]]:
    """By folder, the rows under each header `| in `folder/` | noun | stands on |`."""
    drawn: dict[str, Arrows] = {}
    faults: list[str] = []
    for folder, body in re.findall(
        r"^\| in `([^`]+)/` \| noun \| stands on \|\n\|[-|]+\|\n((?:\|.*\|\n)*)", text, re.M
    ):
        if folder in drawn:
            faults.append(f"{folder}/: has two tables")
        rows = drawn.setdefault(folder, {})
        for line in body.splitlines():
            name, noun, arrows = (cell.strip() for cell in line.strip("|").split("|"))
            name = name.strip("`")
            if not noun:
                faults.append(f"{folder}/: {name} has no noun")
            if name in rows:
                faults.append(f"{folder}/: {name} stands in the table twice")
            rows[name] = set(re.findall(r"`([^`]+)`", arrows))
    return drawn, faults


def folded(arrows: Arrows) -> dict[str, Arrows]:
    """By folder ("" is the root), the rows that its table must have."""
    rows: dict[str, Arrows] = {"": {}}
    for key, targets in arrows.items():
        folder = parent(key)
        rows.setdefault(folder, {})[key] = targets
        while folder:
            above = parent(folder)
            row = rows.setdefault(above, {}).setdefault(f"{folder}/", set())
            row |= {child(above, target) for target in targets if below(target, above)}
            row.discard(f"{folder}/")
            folder = above
    return rows


def parent(path: str) -> str:
    above = PurePosixPath(path).parent.as_posix()
    return "" if above == "." else above


def below(path: str, folder: str) -> bool:
    return not folder or path.startswith(f"{folder}/")


def child(folder: str, path: str) -> str:
    """What lies directly in `folder` on the way to `path`: `path`, or a folder with a slash."""
    start = len(folder) + 1 if folder else 0
    end = path.find("/", start)
    return path if end < 0 else path[: end + 1]


def cycle(arrows: Arrows) -> list[str]:
    """Names that lead back to the first of them; empty when arrows point one way."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return []
        for target in sorted(arrows.get(name, ())):
            if closed := walk(target, [*path, name]):
                return closed
        done.add(name)
        return []

    return next(filter(None, (walk(name, []) for name in sorted(arrows))), [])


def faults_of_map(drawn: dict[str, Arrows], top: str, arrows: Arrows) -> list[str]:
    """Where the tables of the folders below `top` and the code's arrows differ, and every cycle."""
    faults: list[str] = []
    held = folded(arrows)
    names = {f"{top}/{folder}".rstrip("/"): folder for folder in held}
    strays = {name for name in drawn if below(name, top) or name == top} - set(names)
    faults += [f"{name}/: a table of a folder without code" for name in sorted(strays)]
    for name, folder in sorted(names.items()):
        if name not in drawn:
            faults.append(f"{name}/: has no table")
            continue
        rows = drawn[name]
        for row in sorted(held[folder].keys() - rows):
            targets = " ".join(f"`{target}`" for target in sorted(held[folder][row]))
            faults.append(f"{name}/: {row} has no row, expected | `{row}` | its noun | {targets} |")
        faults += [f"{name}/: {row} is not there" for row in sorted(rows.keys() - held[folder])]
        for row, targets in held[folder].items():
            if row in rows and rows[row] != targets:
                wanted = " ".join(f"`{target}`" for target in sorted(targets))
                faults.append(f"{name}/: expected {row} to stand on {wanted or 'nothing'}")
        if closed := cycle(held[folder]):
            faults.append(f"{name}/: a cycle: {' '.join(closed)}")
    if closed := cycle(arrows):
        faults.append(f"{top}/: a cycle: {' '.join(closed)}")
    return faults


def faults(root: Path) -> list[str]:
    """Every way in which the map below `root` and its code differ; empty when they agree."""
    drawn, all_faults = tables((root / "ARCHITECTURE.md").read_text())
    tops = {CORE: includes, LIBRARY: imports}
    for folder in drawn:
        if not any(folder == top or below(folder, top) for top in tops):
            all_faults.append(f"{folder}/: a table of a folder without code")
    for top, read in tops.items():
        arrows, unclear = read(root / top)
        if not arrows:
            unclear.append(f"{top}/: no files found")
        all_faults += unclear + faults_of_map(drawn, top, arrows)
    return all_faults


# --- this project ------------------------------------------------------------------------------


def test_the_map_is_the_code():
    assert faults(ROOT) == []


@pytest.mark.parametrize(("top", "read", "least"), [(CORE, includes, 40), (LIBRARY, imports, 40)])
def test_the_map_sees_the_whole_code(top, read, least):
    arrows, _ = read(ROOT / top)
    assert len(arrows) >= least
    assert sum(map(len, arrows.values())) >= 2 * least


def test_only_the_bindings_know_python():
    paths = [path for path in (ROOT / CORE).rglob("*.*") if "pybind11" in path.read_text()]
    assert len(paths) >= 6
    assert {path.parent.name for path in paths} == {"python"}


def test_each_c_abi_is_known_to_one_file():
    opened = {path.stem for path in (ROOT / CORE).rglob("*.cc") if ".symbol<" in path.read_text()}
    assert opened == {"litert", "onnx", "tflite"}


# --- broken trees ------------------------------------------------------------------------------

SOUND = {
    "cpp/error.h": "",
    "cpp/bytes/hex.h": '#include "error.h"\n',
    "cpp/bytes/hex.cc": '#include "bytes/hex.h"\n',
    "cpp/rings/ring.h": '  #  include "bytes/hex.h"\n#include <error>\n',
    "src/edgeward/__init__.py": "from edgeward.agent.store import Store\n",
    "src/edgeward/errors.py": "",
    "src/edgeward/cli.py": 'TABLE = ["edgeward.fleet.db"]\n',
    "src/edgeward/agent/__init__.py": '"""The agent."""\n',
    "src/edgeward/agent/store.py": "def f():\n    import edgeward.errors\n",
    "src/edgeward/fleet/__init__.py": "",
    "src/edgeward/fleet/db.py": "from edgeward import Store, errors\n",
}
SOUND_MAP = """\
| in `cpp/` | noun | stands on |
|---|---|---|
| `error` | failure | |
| `bytes/` | bytes | `error` |
| `rings/` | rings | `bytes/` |

| in `cpp/bytes/` | noun | stands on |
|---|---|---|
| `bytes/hex` | digits | `error` |

| in `cpp/rings/` | noun | stands on |
|---|---|---|
| `rings/ring` | ring | `bytes/hex` |

| in `src/edgeward/` | noun | stands on |
|---|---|---|
| `__init__` | names | `agent/store` |
| `errors` | failure | |
| `cli` | table | `fleet/db` |
| `agent/` | the device | `errors` |
| `fleet/` | one place | `__init__` `errors` |

| in `src/edgeward/agent/` | noun | stands on |
|---|---|---|
| `agent/store` | store | `errors` |

| in `src/edgeward/fleet/` | noun | stands on |
|---|---|---|
| `fleet/db` | records | `__init__` `errors` |
"""
AGENT, FLEET = "src/edgeward/agent/store.py", "src/edgeward/fleet/db.py"


@pytest.fixture
def lay(tmp_path):
    """Lays out the sound tree with some files changed and some lines of its map replaced."""

    def laid(files, lines=()):
        text = SOUND_MAP
        for line, replacement in dict(lines).items():
            assert line in text
            text = text.replace(line, replacement)
        for name, content in {**SOUND, **files, "ARCHITECTURE.md": text}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return faults(tmp_path)

    return laid


def test_a_sound_tree_has_no_fault(lay):
    assert lay({}) == []


def test_files_of_sub_packages_that_import_each_other_are_a_cycle(lay):
    files = {AGENT: "import edgeward.fleet.db\n", FLEET: "import edgeward.agent.store\n"}
    lines = {
        "| `agent/store` | store | `errors` |": "| `agent/store` | store | `fleet/db` |",
        "| records | `__init__` `errors` |": "| records | `agent/store` |",
        "| the device | `errors` |": "| the device | `fleet/` |",
        "| one place | `__init__` `errors` |": "| one place | `agent/` |",
    }
    closed = lay(files, lines)
    assert "src/edgeward/: a cycle: agent/store fleet/db" in closed
    assert "src/edgeward/: a cycle: agent/ fleet/" in closed


def test_a_row_that_names_only_the_package_does_not_cover_its_modules(lay):
    files = {AGENT: "import edgeward.fleet.db\n", FLEET: "import edgeward.agent.store\n"}
    lines = {
        "| `agent/store` | store | `errors` |": "| `agent/store` | store | `__init__` |",
        "| `fleet/db` | records | `__init__` `errors` |": "| `fleet/db` | records | `__init__` |",
    }
    missing = lay(files, lines)
    assert "src/edgeward/agent/: expected agent/store to stand on `fleet/db`" in missing
    assert "src/edgeward/fleet/: expected fleet/db to stand on `agent/store`" in missing


@pytest.mark.parametrize(
    ("file", "folder"),
    [("src/edgeward/fleet/store.py", "src/edgeward/fleet"), ("cpp/rings/hex.h", "cpp/rings")],
)
def test_a_second_file_of_one_stem_is_a_row_of_its_own(lay, file, folder):
    key = f"{Path(folder).name}/{Path(file).stem}"
    row = f"| `{key}` | its noun |  |"
    assert lay({file: ""}) == [f"{folder}/: {key} has no row, expected {row}"]


def test_an_include_of_a_header_in_a_folder_is_an_arrow(lay):
    files = {"cpp/rings/ring.h": '#include "bytes/hex.h"\n#include "error.h"\n'}
    assert lay(files) == [
        "cpp/: expected rings/ to stand on `bytes/` `error`",
        "cpp/rings/: expected rings/ring to stand on `bytes/hex` `error`",
    ]


def test_a_header_that_is_not_below_the_root_is_a_fault(lay):
    files = {"cpp/rings/ring.cc": '#include "ring.h"\n'}
    assert lay(files) == ['rings/ring.cc: includes "ring.h", which is not a header below the root']


def test_a_folder_without_a_table_is_a_fault(lay):
    new = {"cpp/agent/x.h": '#include "error.h"\n'}
    row = "| `agent/` | its noun | `error` |"
    assert lay(new) == [f"cpp/: agent/ has no row, expected {row}", "cpp/agent/: has no table"]


def test_a_folder_in_a_folder_has_a_table(lay):
    new = {"cpp/bytes/deep/x.h": "", "cpp/bytes/hex.h": '#include "bytes/deep/x.h"\n'}
    row = "| `bytes/deep/` | its noun |  |"
    assert f"cpp/bytes/: bytes/deep/ has no row, expected {row}" in lay(new)
    assert "cpp/bytes/deep/: has no table" in lay(new)


def test_folders_may_form_a_cycle_where_files_do_not(lay):
    new = {"cpp/bytes/octal.h": '#include "rings/ring.h"\n'}
    lines = {
        "| `bytes/hex` | digits | `error` |": "| `bytes/hex` | digits | `error` |\n"
        "| `bytes/octal` | digits | `rings/ring` |",
        "| `bytes/` | bytes | `error` |": "| `bytes/` | bytes | `error` `rings/` |",
    }
    assert lay(new, lines) == ["cpp/: a cycle: bytes/ rings/"]


def test_an_arrow_that_the_code_does_not_hold_is_a_fault(lay):
    lines = {"| `rings/ring` | ring | `bytes/hex` |": "| `rings/ring` | ring | `error` |"}
    assert lay({}, lines) == ["cpp/rings/: expected rings/ring to stand on `bytes/hex`"]


def test_a_module_that_a_string_names_is_an_arrow(lay):
    files = {"src/edgeward/cli.py": "TABLE = []\n"}
    assert lay(files) == ["src/edgeward/: expected cli to stand on nothing"]


@pytest.mark.parametrize(
    ("file", "text", "fault"),
    [
        (AGENT, "from . import errors\n", "agent/store.py: a relative import"),
        ("cpp/notes.txt", "", "notes.txt: expected a .h or .cc file"),
        (
            "src/edgeward/agent/__init__.py",
            "import json\n",
            "agent/__init__.py: expected a docstring at most",
        ),
    ],
    ids=["relative", "foreign", "init"],
)
def test_what_cannot_be_mapped_is_a_fault(lay, file, text, fault):
    assert fault in lay({file: text})


@pytest.mark.parametrize(
    ("line", "replacement", "fault"),
    [
        ("| `error` | failure | |", "| `error` | | |", "cpp/: error has no noun"),
        (
            "| `error` | failure | |",
            "| `error` | failure | |\n| `error` | failure | |",
            "cpp/: error stands in the table twice",
        ),
        ("| in `cpp/rings/`", "| in `cpp/bytes/`", "cpp/bytes/: has two tables"),
        (
            "| in `cpp/rings/`",
            "| in `cpp/cogs/`",
            "cpp/cogs/: a table of a folder without code",
        ),
        ("| in `cpp/rings/`", "| in `go/rings/`", "go/rings/: a table of a folder without code"),
        (
            "| `error` | failure | |",
            "| `error` | failure | |\n| `gone` | nothing | |",
            "cpp/: gone is not there",
        ),
    ],
)
def test_a_table_that_is_not_sound_is_a_fault(lay, line, replacement, fault):
    assert fault in lay({}, {line: replacement})


def test_a_tree_without_code_is_a_fault(tmp_path):
    (tmp_path / "ARCHITECTURE.md").write_text("")
    for top in (CORE, LIBRARY):
        (tmp_path / top).mkdir(parents=True)
    assert f"{CORE}/: no files found" in faults(tmp_path)
    assert f"{LIBRARY}/: no files found" in faults(tmp_path)
