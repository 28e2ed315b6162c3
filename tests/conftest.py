"""A dozen questions in two languages, and desks trained on little; all without a download."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

import triage

collect_ignore = ["benchmarks"]  # programs, no tests

settings.register_profile("triage", deadline=None)  # a busy machine is no fault
settings.load_profile("triage")

LAND = Path(__file__).parent.parent / "datasets" / "land"

# Text, topic, jurisdiction.
QUESTIONS = [
    ("UBND xã có được cấp giấy phép bán lẻ rượu không?", "liquor", "local"),
    ("Hồ sơ xin cấp lại giấy phép bán lẻ rượu nộp ở đâu?", "liquor", "local"),
    ("Who grants a licence to sell liquor by retail?", "liquor", "local"),
    ("Bộ có cấp giấy phép phân phối rượu trên toàn quốc không?", "liquor", "ministry"),
    ("Does the ministry license liquor distributors?", "liquor", "ministry"),
    ("May a shop sell liquor near a school?", "liquor", "local"),
    ("Hoà giải tranh chấp đất đai ở xã làm thế nào?", "land", "local"),
    ("Sổ đỏ của hộ gia đình do cấp nào ký?", "land", "local"),
    ("Who settles a dispute over a boundary of land?", "land", "local"),
    ("Thu hồi đất làm cao tốc do ai quyết định, thưa Bộ?", "land", "ministry"),
    ("Which ministry approves the national plan of land use?", "land", "ministry"),
    ("Đất nông nghiệp chuyển sang đất ở tính tiền ra sao?", "land", "local"),
    ("Thuế thu nhập của hộ kinh doanh nộp cho ai?", "tax", "other_agency"),
    ("Where do I pay tax on the rent of a house?", "tax", "other_agency"),
    ("Hoàn thuế giá trị gia tăng cần giấy tờ gì?", "tax", "other_agency"),
    ("My tax return is late, is there a fine?", "tax", "other_agency"),
]
ABBREVIATIONS = {"UBND": "ủy ban nhân dân", "TTHC": "thủ tục hành chính", "HKD": "hộ kinh doanh"}


class WordEncoder:
    """A stub of an encoder: a text is the mean of its words, each of which has a random direction of its own.

    Parameters
    ----------
    name : str
    alike : mapping of str to str
        Words that mean what others do.

    Attributes
    ----------
    asked : list of str
        What it was given, in order.
    """

    dim = 16

    def __init__(self, name: str = "words", alike: dict[str, str] | None = None) -> None:
        self.name = name
        self.alike = alike or {}
        self.asked: list[str] = []

    def encode(self, texts: list[str]) -> np.ndarray:
        """Return unit rows; zeros for a text without words."""
        self.asked += texts
        rows = np.zeros((len(texts), self.dim))
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text.lower()):
                seed = hashlib.sha256(self.alike.get(word, word).encode("utf-8", "replace")).digest()[:8]
                rows[row] += np.random.default_rng(int.from_bytes(seed)).normal(size=self.dim)
        length = np.sqrt((rows**2).sum(1, keepdims=True))
        return (rows / np.where(length > 0, length, 1)).astype(np.float32)


@pytest.fixture(scope="session")
def word_encoder() -> type[WordEncoder]:
    """Return the class of an encoder that needs no package."""
    return WordEncoder


@pytest.fixture
def questions() -> pd.DataFrame:
    """Return sixteen questions with columns text, topic and jurisdiction."""
    return pd.DataFrame(QUESTIONS, columns=["text", "topic", "jurisdiction"])


@pytest.fixture(scope="session")
def triager() -> triage.Triager:
    """Return a desk trained on the sixteen questions."""
    table = pd.DataFrame(QUESTIONS, columns=["text", "topic", "jurisdiction"])
    return triage.train(table, language="vi", abbreviations=ABBREVIATIONS)


@pytest.fixture(scope="session")
def desk_table() -> pd.DataFrame:
    """Return 300 training questions of the land desk, of all its topics."""
    table = pd.read_csv(LAND / "questions.csv", dtype=str, keep_default_na=False)
    table = table[table["split"] == "train"]
    return table.iloc[:: len(table) // 300][:300].reset_index(drop=True)


@pytest.fixture(scope="session")
def desk_triager(desk_table: pd.DataFrame) -> triage.Triager:
    """Return the land desk trained on few questions, with its register, archive and messages out of scope."""
    return triage.train(
        desk_table,
        register=LAND / "register.csv",
        archive=LAND / "archive.jsonl",
        oos=LAND / "oos.csv",
        groups="author",
        taxonomy=LAND / "taxonomy.json",
        abbreviations={"ubnd": "ủy ban nhân dân", "gcn": "giấy chứng nhận"},
    )
