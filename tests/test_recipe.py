"""Tests of `triage.recipe`: what a recipe must hold is said before anything is trained."""

import pytest
from typer.testing import CliRunner

from triage import cli
from triage.errors import RecipeError
from triage.recipe import read_recipe, train_recipe

ROWS = [
    f"{text} {number},{topic},one,train"
    for topic, text in (("card", "my card"), ("tax", "tax on"))
    for number in range(6)
]


@pytest.fixture(autouse=True)
def _questions(tmp_path):
    (tmp_path / "questions.csv").write_text("\n".join(["text,topic,same,split", *ROWS]), "utf-8")


def write(folder, more="", data="", before=""):
    topic = "" if "targets" in data else 'targets = ["topic"]\n'
    path = folder / "recipe.toml"
    path.write_text(f'{before}\n[data]\nquestions = "questions.csv"\n{topic}{data}\n{more}\n', "utf-8")
    return path


def problems(path):
    with pytest.raises(RecipeError, match=r"recipe\.toml: not a usable recipe") as caught:
        read_recipe(path)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('targets = "label"', "targets must be a list of one text or more, got 'label'"),
        ("targets = []", "targets must be a list of one text or more, got []"),
        ("targets = [1]", "targets must be a list of one text or more, got [1]"),
        ('train_on = "train"', "train_on must be a list of one text or more, got 'train'"),
        ("train_on = []", "train_on must be a list of one text or more, got []"),
        ('measure_on = "test"', "measure_on must be a list of texts, got 'test'"),
        ('groups = ["author"]', "groups must be text, got ['author']"),
        ("split = true", "split must be text, got True"),
        ("text = 3", "text must be text, got 3"),
        ("questions = 3", None),
        ('reasks = "questions.csv"', "reasks needs the archive of answers that are asked again; name it too"),
    ],
)
def test_data_of_another_kind_are_named(tmp_path, line, problem):
    if problem is None:
        path = tmp_path / "recipe.toml"
        path.write_text("[data]\nquestions = 3\n", "utf-8")
        problem = "questions must be a file beside the recipe, got 3, which is not there"
    else:
        path = write(tmp_path, data=line)
    assert problems(path) == [f"[data] {problem}"]


def test_further_questions_may_lie_in_several_files(tmp_path):
    for name, label in (("one.csv", "x"), ("two.csv", "y")):
        (tmp_path / name).write_text(f"text,label,split\nabc,{label},train\ndef,{label},test\n", "utf-8")
    recipe = read_recipe(write(tmp_path, data='split = "split"\nexamples = ["one.csv", "two.csv"]'))
    assert [path.name for path in recipe.files("examples")] == ["one.csv", "two.csv"]
    found = recipe.table("examples")
    assert found[["text", "label"]].values.tolist() == [["abc", "x"], ["abc", "y"]]
    assert recipe.table("neighbours") is None


def test_label_that_one_of_several_files_lacks_is_named(tmp_path):
    (tmp_path / "one.csv").write_text("text,topic,level\nabc,x,\n", "utf-8")
    (tmp_path / "two.csv").write_text("text,topic,other\ndef,y,1\n", "utf-8")
    recipe = read_recipe(write(tmp_path, data='neighbours = ["one.csv", "two.csv"]'))
    problem = r"neighbours must have the same labels in each file, and .*two\.csv lacks 'level'"
    with pytest.raises(RecipeError, match=problem):
        recipe.table("neighbours")


def test_only_file_of_several_is_none(tmp_path):
    (tmp_path / "one.csv").write_text("text,topic\nabc,x\n", "utf-8")
    recipe = read_recipe(write(tmp_path, data='examples = ["one.csv", "one.csv"]\nneighbours = []'))
    with pytest.raises(ValueError, match="examples must be one file, got 2; take files or table"):
        recipe.file("examples")
    assert (recipe.file("neighbours"), recipe.table("neighbours")) == (None, None)


@pytest.mark.parametrize("name", ["examples", "neighbours"])
def test_each_of_several_files_that_is_not_there_is_named(tmp_path, name):
    found = problems(write(tmp_path, data=f'{name} = ["questions.csv", "no.csv", 3]'))
    assert found == [
        f"[data] {name} must be a file beside the recipe, got {one}, which is not there" for one in ("'no.csv'", 3)
    ]


@pytest.mark.parametrize("key", ["train_on", "measure_on"])
def test_split_that_is_none_is_named(tmp_path, key):
    (problem,) = problems(write(tmp_path, data=f'split = "split"\n{key} = ["valid", "vaild"]'))
    assert problem == f"[data] {key} must name splits, of train, valid, test, got ['vaild']"


@pytest.mark.parametrize("share", ["95", '"0.9"', "true", "0", "1", "1.0", "nan", "[0.9]", "2025-01-01"])
def test_promise_that_is_no_share_is_named(tmp_path, share):
    (problem,) = problems(write(tmp_path, f"[promise]\ntopic = {share}"))
    assert problem.startswith("[promise] topic must be a number above 0 and below 1, got ")


def test_promise_for_no_target_is_named(tmp_path):
    (problem,) = problems(write(tmp_path, "[promise]\nlevel = 0.9"))
    assert problem == "[promise] must be for ['topic', 'reuse'], got 'level'"


@pytest.mark.parametrize("table", ["promise", "training", "desk", "reuse", "encoder"])
def test_table_that_is_none_is_named(tmp_path, table):
    assert problems(write(tmp_path, before=f"{table} = 5")) == [f"{table} must be a table [{table}], got 5"]


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ('loss = "x"', "loss must be one of squared_error, squared_hinge, got 'x'"),
        ("C = -1", "C must be a finite number above 0, got -1"),
        ("C = 0", "C must be a finite number above 0, got 0"),
        ("C = nan", "C must be a finite number above 0, got nan"),
        ("n_bits = 99", "n_bits must be a whole number in [8, 24], got 99"),
        ("n_folds = 1", "n_folds must be a whole number, at least 2, got 1"),
        ("min_df = 0", "min_df must be a whole number in [1, 1000000], got 0"),
        ("char_ngrams = [2]", "char_ngrams must be two whole numbers, ascending, in [2, 12], got [2]"),
        ('char_ngrams = ["a", "b"]', "char_ngrams must be two whole numbers, ascending, in [2, 12], got ['a', 'b']"),
        ("random_state = -1", "random_state must be a whole number in [0, 4294967295], got -1"),
        ("random_state = 1.5", "random_state must be a whole number in [0, 4294967295], got 1.5"),
        ("n_jobs = 0", "n_jobs must be a whole number other than 0, got 0"),
        ("name_classes = 1", "name_classes must be true or false, got 1"),
    ],
)
def test_option_of_training_out_of_range_is_named(tmp_path, option, problem):
    assert problems(write(tmp_path, f"[training]\n{option}")) == [f"[training] {problem}"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('language = "zz"', "language must be one of vi, got 'zz'"),
        ("language = [1]", "language must be one of vi, got [1]"),
        ("name = 3", "name must be text, got 3"),
        ("data = 2025-01-01", "data must be text or a list of texts, got datetime.date(2025, 1, 1)"),
        ("limits = [1]", "limits must be text or a list of texts, got [1]"),
    ],
)
def test_fact_of_a_desk_that_cannot_be_kept_is_named(tmp_path, line, problem):
    assert problems(write(tmp_path, f"[desk]\n{line}")) == [f"[desk] {problem}"]


def test_all_faults_of_a_recipe_are_named_at_once(tmp_path):
    more = (
        "[training]\nC = 0\nn_bits = 99\n[promise]\ntopic = 95\nx = true\n[reuse]\noldest_days = -1\n[desk]\nname = 1"
    )
    assert len(problems(write(tmp_path, more, 'groups = 1\ntrain_on = "train"', "colour = 2"))) == 10


def only_error(path):
    result = CliRunner().invoke(cli.app, ["train", str(path)])
    assert (result.exit_code, result.stdout) == (1, "")
    assert not path.with_name("bundle").exists()
    said, _, lines = result.stderr.partition(f"triage: error: {path}: not a usable recipe\n")
    assert "error" not in said
    return lines.splitlines()


def test_program_words_a_recipe_with_faults(tmp_path):
    assert only_error(write(tmp_path, "[training]\nC = 0\nn_jobs = 0")) == [
        "  [training] C must be a finite number above 0, got 0",
        "  [training] n_jobs must be a whole number other than 0, got 0",
    ]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ('groups = "nope"', "groups must name a column of the table, got 'nope'"),
        ('targets = ["same"]', "target 'same' must have at least two classes"),
        ('split = "split"\nmeasure_on = ["test"]', "measure_on must name a split with questions, got ['test']"),
    ],
)
def test_program_words_what_only_the_table_shows(tmp_path, data, problem):
    (line,) = only_error(write(tmp_path, data=data))
    assert problem in line


def test_recipe_without_faults_is_trained(tmp_path):
    more = '[desk]\nname = "Small"\nlimits = ["few rows"]\n[training]\nC = 2\nn_jobs = -1\n[promise]\ntopic = 0.5'
    triager = train_recipe(write(tmp_path, more, 'groups = "text"'))
    assert triager.thresholds["topic"].promise == 0.5
