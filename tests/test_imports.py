"""The order of the rooms, and an import that stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import triage

ROOT = Path(__file__).parents[1] / "triage"
RANKS = {
    "errors": 0,
    "records": 0,
    "disk": 0,
    "text": 1,
    "dataset": 1,
    "bundle": 1,  # moves arrays and JSON; knows no part
    "metrics": 1,  # of arrays
    "encoder": 1,  # texts to vectors, by plug-ins
    "features": 2,
    "classifier": 2,
    "decision": 2,
    "register": 2,
    "archive": 2,
    "feedback": 2,
    "profile": 2,
    "index": 2,
    "scope": 2,
    "reuse": 2,
    "evaluation": 3,  # of a desk only what everybody may call
    "triager": 4,
    "training": 5,
    "drift": 5,  # a week beside what training saw
    "letters": 5,
    "report": 5,
    "selection": 5,  # what to label next
    "quality": 6,  # checks what is trained on
    "recipe": 6,  # trains as it says, and measures
    "comparison": 7,  # measures two desks at once
    "card": 7,
    "service": 8,
    "cli": 8,
    "integrations": 8,
    "__init__": 9,  # re-exports; nothing inside imports it
}
HEAVY = ("numpy", "scipy", "pandas", "sklearn", "spacy", "joblib", "typer", "rich")


def room_of(name):
    """Name the room of a module's dotted name or path below the package."""
    return (name.split(".")[1:] or ["__init__"])[0]


def imported_rooms(tree):
    """List the rooms that a module imports anywhere, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (room_of(alias.name) for alias in node.names if alias.name.split(".")[0] == "triage")
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module.split(".")[0] == "triage":
            if node.module != "triage":
                yield room_of(node.module)
            else:
                yield from (alias.name if alias.name in RANKS else "__init__" for alias in node.names)


def faults_of(room, source):
    """List the imports of a module that its rank forbids."""
    return [
        f"{room} imports {other}"
        for other in imported_rooms(ast.parse(source))
        if other != room and RANKS[other] >= RANKS[room]
    ]


def run_python(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_imports_only_lower_ranks(path):
    room = path.relative_to(ROOT).parts[0].removesuffix(".py")
    assert room in RANKS, f"give {room!r} a rank, here and in DESIGN"
    assert faults_of(room, path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("room", "source", "expected"),
    [
        ("features", "from triage.triager import Triager", ["features imports triager"]),
        ("features", "def f():\n    import triage.classifier", ["features imports classifier"]),
        ("triager", "from triage import service", ["triager imports service"]),
        ("cli", "import triage", ["cli imports __init__"]),
        ("cli", "from triage import load", ["cli imports __init__"]),
        ("triager", "from triage import bundle, errors\nimport triage.text.masking", []),
        ("text", "from triage.text.normal import fold_text", []),
    ],
)
def test_rank_rule_catches_upward_imports(room, source, expected):
    assert faults_of(room, source) == expected


def test_import_is_light():
    loaded = run_python("import sys, triage; print(*{name.split('.')[0] for name in sys.modules})").split()
    assert not set(HEAVY) & set(loaded)


def test_errors_and_version_are_light():
    code = "import sys, triage; triage.TriageError; triage.Decision; triage.__version__; dir(triage)"
    loaded = run_python(f"{code}; print(*{{name.split('.')[0] for name in sys.modules}})").split()
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize("name", ["industry-trade", "land"])
def test_shipped_desk_is_loaded_and_decides_without_spacy(name):
    bundle = Path(__file__).parents[1] / "models" / name / "bundle"
    code = f"import sys, triage; triage.load({str(bundle)!r}).predict(['Ai cấp sổ đỏ?'], k=0); print(*sys.modules)"
    assert "spacy" not in run_python(code).split()


@pytest.mark.parametrize("name", triage.__all__)
def test_public_names_resolve(name):
    assert getattr(triage, name) is getattr(triage, name)
    assert name in dir(triage)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'triagr'"):
        triage.triagr  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'triagr'"):
        exec("from triage import triagr")


def test_listing_spacy_components_loads_no_model():
    code = "import sys, spacy; spacy.blank('xx'); print(*sys.modules)"
    loaded = run_python(code).split()
    assert "triage.triager" not in loaded
    assert "sklearn" not in loaded
