"""Texts to a sparse matrix: hashed n-grams of a whole batch at once.

Three blocks of features, of equal length in a row: characters within words, words and word
bigrams, and unordered pairs of words near each other. With an encoder a fourth, dense one: what the text means.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from triage.encoder import Encoder, identity_of
from triage.features.meaning import Meaning
from triage.features.ngrams import BLOCKS, Indices, Ngrams, sorted_keys
from triage.features.seen import Seen
from triage.features.texts import check_texts, chunks
from triage.text import Normalizer, Words

Floats = npt.NDArray[np.float32]

_CHUNK_TEXTS = 256  # texts hashed at once: the arrays of one chunk stay in the processor's cache


@dataclass(frozen=True)
class Counts:
    """Counted n-grams of a chunk of texts.

    Attributes
    ----------
    row, column : integer arrays of shape (n_counts,)
        Sorted by row, then column.
    count : float32 array of shape (n_counts,)
    unknown : float64 array of shape (n_rows, n_blocks)
        Occurrences of n-grams that have no column.
    """

    row: npt.NDArray[np.integer[Any]]
    column: npt.NDArray[np.integer[Any]]
    count: Floats
    unknown: npt.NDArray[Any]


class QuestionVectorizer(TransformerMixin, BaseEstimator):
    """Texts to a CSR matrix of tf-idf weighted, hashed n-grams.

    Parameters
    ----------
    language : str or None, default=None
        Language whose data normalises the text; None for none. See `triage.text.Normalizer`.
    abbreviations : mapping of str to str, or None, default=None
        Words to spell out.
    char_ngrams : tuple (shortest, longest), default=(2, 5)
        Lengths of the character n-grams within words, from 2 on; a word counts with one space on either side.
    word_ngrams : int, default=2
        Longest run of words.
    pair_window : int, default=3
        Unordered pairs of words at most this far apart; 0 for none.
    min_df : int, default=2
        Character n-grams and pairs of fewer training texts are dropped; words and runs of words are kept.
    n_bits : int, default=16
        Each block is hashed into ``2**n_bits`` buckets, 8 to 24.
    encoder : Encoder or None, default=None
        Adds a block of vectors, see `triage.encoder`.
    encoder_weight : float, default=1.0
        Length of what a text means in a row, beside the length 1 of all n-grams together; above 0.
    encoder_landmarks : int, default=0
        0 adds the vectors themselves; else how near they are to so many training texts, see `triage.features.meaning`.

    Attributes
    ----------
    buckets_ : int32 array of shape (n_ngrams_,)
        Bucket of each n-gram's feature, ascending; block ``b`` holds ``b * 2**n_bits`` and up.
    idf_ : float32 array of shape (n_ngrams_,)
        Inverse document frequency, ``log((1 + n) / (1 + df)) + 1`` (scikit-learn's smoothed form).
    unknown_idf_ : float
        The same for an n-gram of no training text.
    n_ngrams_ : int
        Number of columns of n-grams, the first ones.
    n_features_ : int
        Number of columns.

    Notes
    -----
    The length of a block counts all n-grams of the text, also those without a column. So a text in
    unknown words has a short row, its scores stay small, and it is recognised as out of scope.

    Examples
    --------
    >>> vectorizer = QuestionVectorizer(min_df=1).fit(["where is my card", "top up my card"])
    >>> X = vectorizer.transform(["my card"])
    >>> X.shape == (1, vectorizer.n_features_)
    True
    """

    def __init__(
        self,
        *,
        language: str | None = None,
        abbreviations: Mapping[str, str] | None = None,
        char_ngrams: tuple[int, int] = (2, 5),
        word_ngrams: int = 2,
        pair_window: int = 3,
        min_df: int = 2,
        n_bits: int = 16,
        encoder: Encoder | None = None,
        encoder_weight: float = 1.0,
        encoder_landmarks: int = 0,
    ) -> None:
        self.language = language
        self.abbreviations = abbreviations
        self.char_ngrams = char_ngrams
        self.word_ngrams = word_ngrams
        self.pair_window = pair_window
        self.min_df = min_df
        self.n_bits = n_bits
        self.encoder = encoder
        self.encoder_weight = encoder_weight
        self.encoder_landmarks = encoder_landmarks

    # --- learning -------------------------------------------------------------------------------

    def fit(self, texts: Iterable[str], y: Any = None) -> Self:
        """Learn which features to keep and their weights.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
        y : ignored

        Returns
        -------
        QuestionVectorizer
            Itself.

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If an option is out of range, or no text holds a word.
        """
        self.fit_transform(texts)
        return self

    def fit_transform(self, texts: Iterable[str], y: Any = None) -> sp.csr_matrix:
        """Learn from texts and return their matrix, reading them once.

        Parameters
        ----------
        texts : iterable of str, of length n_texts
        y : ignored

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n_texts, n_features_), float32

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If an option is out of range, or no text holds a word.
        """
        return self.fit_read(texts).X

    def fit_read(self, texts: Iterable[str]) -> Seen:
        """Learn from texts and return all that is seen of them.

        Parameters
        ----------
        texts : iterable of str, of length n_texts

        Returns
        -------
        Seen

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        ValueError
            If an option is out of range, or no text holds a word.
        """
        found = check_texts(texts)
        self._begin()
        size = len(BLOCKS) << self.n_bits
        parts = [self._counts(words, None, size) for words in self._chunks(found)]
        frequency = np.zeros(size, np.int64)
        for part in parts:
            frequency += np.bincount(part.column, minlength=size)
        kept = np.flatnonzero(frequency >= self._least_frequency(size, len(found)))
        if not len(kept):
            raise ValueError(
                f"at least one of the {len(found)} texts must hold a word that is kept, got none; "
                f"check the column of texts, or lower min_df={self.min_df}"
            )
        self.buckets_ = kept.astype(np.int32)
        self.idf_ = (np.log((1 + len(found)) / (1 + frequency[kept])) + 1).astype(np.float32)
        self.unknown_idf_ = float(np.log(1 + len(found)) + 1)
        self._meaning, vectors = None, None
        if self.encoder is not None:
            self._meaning, vectors = Meaning.fit(
                self.encoder, self._normalizer, found, self.encoder_weight, self.encoder_landmarks
            )
        self._prepare()
        return self._seen(*self._matrix([self._known(part) for part in parts], len(found)), vectors)

    def _begin(self) -> None:
        """Check the options, and make what they ask for."""
        shortest, longest = self.char_ngrams
        for name, value, low, high in (
            ("char_ngrams[0]", shortest, 2, longest),
            ("char_ngrams[1]", longest, shortest, 12),
            ("word_ngrams", self.word_ngrams, 1, 5),
            ("pair_window", self.pair_window, 0, 20),
            ("min_df", self.min_df, 1, 1_000_000),
            ("n_bits", self.n_bits, 8, 24),
            ("encoder_weight", self.encoder_weight, 1e-3, 1e3),
            ("encoder_landmarks", self.encoder_landmarks, 0, 10_000),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} must be in [{low}, {high}], got {value}")
        self._normalizer = Normalizer(self.language, self.abbreviations)
        self._hashed = Ngrams(self.char_ngrams, self.word_ngrams, self.pair_window, self.n_bits)

    def _least_frequency(self, size: int, n_texts: int) -> npt.NDArray[np.int64]:
        """Return the document frequency that each bucket must reach."""
        least = np.full(size, max(1, min(self.min_df, n_texts)), np.int64)
        words = slice(1 << self.n_bits, 2 << self.n_bits)
        least[words] = 1
        return least

    def _prepare(self) -> None:
        """Derive the look-up tables from what was learnt."""
        self.n_ngrams_ = len(self.buckets_)
        self.n_features_ = self.n_ngrams_ + (0 if self._meaning is None else self._meaning.n_columns)
        self._column_of = np.full(len(BLOCKS) << self.n_bits, -1, np.int32)
        self._column_of[self.buckets_] = np.arange(self.n_ngrams_, dtype=np.int32)
        self._block_of = (self.buckets_ >> self.n_bits).astype(np.int64)
        self._unknown_square = self.unknown_idf_**2
        self._one_row = sp.csr_matrix((1, self.n_ngrams_), dtype=np.float32)

    # --- the hot path ---------------------------------------------------------------------------

    def transform(self, texts: Iterable[str]) -> sp.csr_matrix:
        """Return the matrix of texts.

        Parameters
        ----------
        texts : iterable of str, of length n_texts

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n_texts, n_features_), float32
            The n-grams of a row have length 1 when all are known, else less; what it means has at most
            `encoder_weight`. A row does not depend on the other texts.

        Raises
        ------
        TypeError
            If `texts` is one string or holds anything but strings.
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self, "idf_")
        return self.read(check_texts(texts)).X

    def words(self, texts: Sequence[str]) -> Words:
        """Return the normalised words that the features are made of.

        Parameters
        ----------
        texts : sequence of str

        Returns
        -------
        Words

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        check_is_fitted(self, "idf_")
        return self._normalizer.words(texts)

    def read(self, texts: Sequence[str], words: Words | None = None, vectors: Floats | None = None) -> Seen:
        """Return all that is seen of a batch of texts.

        Parameters
        ----------
        texts : sequence of str, of length n_texts
        words : Words, optional
            What `words` gave for them.
        vectors : float32 array of shape (n_texts, dim), optional
            Beside `words`: what they mean, where it was read before.

        Returns
        -------
        Seen

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        """
        if words is None:
            parts = [self.read(part, self.words(part)) for part in chunks(texts, _CHUNK_TEXTS)]
            return Seen.joined(parts or [self.read([], self.words([]))])
        X, known_shares = self._matrix([self._counts(words, self._column_of, self.n_ngrams_)], len(texts))
        if self._meaning is not None and vectors is None:
            vectors = self._meaning.vectors(texts, words)
        return self._seen(X, known_shares, vectors)

    def _seen(self, X: sp.csr_matrix, known_shares: npt.NDArray[np.float64], vectors: Floats | None) -> Seen:
        if self._meaning is None or vectors is None:
            return Seen(X, None, X, known_shares)
        both = sp.hstack((X, sp.csr_matrix(self._meaning.columns(vectors))), format="csr")
        X.resize(both.shape)
        return Seen(X, vectors, both, known_shares)

    def ngrams(self, texts: Sequence[str]) -> sp.csr_matrix:
        """Return the matrix of texts without their meaning, which takes no encoder.

        Parameters
        ----------
        texts : sequence of str, of length n_texts

        Returns
        -------
        scipy.sparse.csr_matrix of shape (n_texts, n_features_), float32
        """
        parts = [self._counts(words, self._column_of, self.n_ngrams_) for words in self._chunks(texts)]
        X, _ = self._matrix(parts, len(texts))
        X.resize((len(texts), self.n_features_))
        return X

    def _chunks(self, texts: Sequence[str]) -> Iterator[Words]:
        for chunk in chunks(texts, _CHUNK_TEXTS):
            yield self._normalizer.words(chunk)

    def _unknown(self, row: npt.NDArray[Any], bucket: npt.NDArray[Any], count: Any, n_rows: int) -> npt.NDArray[Any]:
        """Count unknown n-grams, (n_rows, n_blocks)."""
        place = row * len(BLOCKS) + (bucket >> self.n_bits)
        return np.bincount(place, count, n_rows * len(BLOCKS)).reshape(n_rows, len(BLOCKS))

    def _known(self, part: Counts) -> Counts:
        """Turn buckets into columns and set unknown n-grams apart."""
        mapped = self._column_of[part.column]
        known = mapped >= 0
        unknown = self._unknown(part.row[~known], part.column[~known], part.count[~known], len(part.unknown))
        return Counts(part.row[known], mapped[known], part.count[known], unknown)

    def _counts(self, words: Words, column_of: npt.NDArray[np.int32] | None, n_columns: int) -> Counts:
        """Count every n-gram, sorted by row and column; None for `column_of` keeps all buckets as columns."""
        unknown = np.zeros((words.n_rows, len(BLOCKS)))
        if not len(words.starts):
            return Counts(np.zeros(0, np.intp), np.zeros(0, np.int32), np.zeros(0, np.float32), unknown)
        column: npt.NDArray[Any]
        column, first_word, _ = self._hashed.occurrences(words)
        # One number holds row and column; 32 bits of it are sorted twice as fast as 64.
        shift = int(n_columns - 1).bit_length()
        wide: Any = np.uint32 if words.n_rows << shift <= 1 << 32 else np.uint64
        if column_of is not None:
            mapped = column_of.take(column)
            is_known = mapped >= 0
            if not is_known.all():
                missing = (~is_known).nonzero()[0]
                unknown = self._unknown(words.rows[first_word[missing]], column[missing], None, words.n_rows)
                known = is_known.nonzero()[0]
                mapped, first_word = mapped.take(known), first_word.take(known)
            column = mapped
        key = (words.rows.astype(wide) << wide(shift)).take(first_word)
        key |= column.astype(wide)
        key = sorted_keys(key)
        new = np.empty(len(key), bool)
        new[:1] = True
        np.not_equal(key[1:], key[:-1], out=new[1:])
        first = new.nonzero()[0]
        count = np.empty(len(first), np.float32)
        count[:-1] = first[1:] - first[:-1]
        count[-1:] = len(key) - first[-1:]
        key = key[first]
        row = (key >> wide(shift)).astype(np.intp)
        key &= wide((1 << shift) - 1)
        return Counts(row, key.astype(np.int32), count, unknown)

    def _matrix(self, parts: Sequence[Counts], n_texts: int) -> tuple[sp.csr_matrix, npt.NDArray[np.float64]]:
        """Return the weighted matrix of counted n-grams, one part a chunk of texts, and the shares known."""
        values, shares, per_row = [], [], []
        for part in parts:
            n_rows = len(part.unknown)
            value = np.log(part.count)
            value += 1
            value *= self.idf_.take(part.column)
            segment = part.row * len(BLOCKS)
            segment += self._block_of.take(part.column)
            squares = np.bincount(segment, value * value, n_rows * len(BLOCKS)).reshape(n_rows, len(BLOCKS))
            lengths = squares + part.unknown * self._unknown_square
            n_blocks = np.maximum((lengths > 0).sum(1, keepdims=True), 1)
            lengths[lengths == 0] = 1
            scale = (1 / np.sqrt(lengths * n_blocks)).astype(np.float32)
            value *= scale.ravel().take(segment)
            values.append(value)
            shares.append(squares / lengths)
            per_row.append(np.bincount(part.row, minlength=n_rows))
        if not parts:
            return sp.csr_matrix((n_texts, self.n_ngrams_), dtype=np.float32), np.zeros((n_texts, len(BLOCKS)))
        if len(parts) == 1:  # one question must not wait for copies
            columns, data, known_shares = parts[0].column, values[0], shares[0]
        else:
            columns = np.concatenate([part.column for part in parts])
            data, known_shares = np.concatenate(values), np.concatenate(shares)
        indptr = np.zeros(n_texts + 1, np.int32 if len(columns) < 1 << 31 else np.int64)
        np.concatenate(per_row).cumsum(out=indptr[1:])
        if n_texts == 1:  # scipy's checks would take a twentieth of the time of one question
            X = copy.copy(self._one_row)
            X.data, X.indices, X.indptr = data, columns, indptr
            return X, known_shares
        return sp.csr_matrix((data, columns, indptr), shape=(n_texts, self.n_ngrams_)), known_shares

    def held_out_shares(self, ngrams: sp.csr_matrix, groups: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Return how much of each training text features learnt without its group would know.

        Parameters
        ----------
        ngrams : scipy.sparse.csr_matrix of shape (n_texts, n_features_)
            What `fit_read` gave.
        groups : intp array of shape (n_texts,)
            Codes from 0 on.

        Returns
        -------
        float64 array of shape (n_texts, 3)
            As in `Seen`.
        """
        row = np.repeat(np.arange(ngrams.shape[0]), np.diff(ngrams.indptr))
        _, cell, n_texts = np.unique(
            groups[row] * ngrams.shape[1] + ngrams.indices, return_inverse=True, return_counts=True
        )
        elsewhere = (
            np.bincount(ngrams.indices, minlength=ngrams.shape[1])[ngrams.indices] - n_texts[cell]
        )  # texts of other groups
        least = np.where(self._block_of == BLOCKS.index("words"), 1, self.min_df)[ngrams.indices]
        place = row * len(BLOCKS) + self._block_of[ngrams.indices]
        known, whole = (
            np.bincount(place, data**2, ngrams.shape[0] * len(BLOCKS)).reshape(-1, len(BLOCKS))
            for data in (np.where(elsewhere >= least, ngrams.data, 0), ngrams.data)
        )
        block = whole[:, [BLOCKS.index("words")]]  # all words of a training text are known, and blocks are equally long
        shares: npt.NDArray[np.float64] = np.minimum(known / np.where(block > 0, block, 1), 1)
        return shares

    # --- explaining -----------------------------------------------------------------------------

    def occurrences(self, words: Words) -> tuple[Indices, Indices, Indices]:
        """Return which words each known n-gram of a batch stands on.

        Parameters
        ----------
        words : Words

        Returns
        -------
        column, first, last : intp arrays of shape (n_occurrences,)
            Column of the matrix, and first and last word of the n-gram (in the order of `words`).
        """
        if not len(words.starts):
            none = np.zeros(0, np.intp)
            return none, none, none
        bucket, first, gap = self._hashed.occurrences(words)
        column = self._column_of[bucket].astype(np.intp)
        known = column >= 0
        return column[known], first[known], (first + gap)[known]

    # --- storing --------------------------------------------------------------------------------

    def to_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return options as JSON values, and what was learnt as arrays; of an encoder, what tells it from others."""
        check_is_fitted(self, "idf_")
        options = self.get_params(deep=False)
        options["char_ngrams"] = list(self.char_ngrams)
        options["abbreviations"] = dict(self.abbreviations or {})
        options["unknown_idf"] = self.unknown_idf_
        arrays = {"buckets": self.buckets_, "idf": self.idf_}
        encoder = options.pop("encoder")
        if encoder is None or self._meaning is None:
            return {name: value for name, value in options.items() if not name.startswith("encoder")}, arrays
        meaning, of_meaning = self._meaning.to_state()
        return {**options, "encoder": identity_of(encoder).to_dict(), "meaning": meaning}, {**arrays, **of_meaning}

    @classmethod
    def from_state(
        cls, options: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], encoder: Encoder | None = None
    ) -> Self:
        """Return a fitted vectorizer from what `to_state` gave, with the encoder that it tells of."""
        own = {name: value for name, value in options.items() if name not in ("unknown_idf", "meaning", "encoder")}
        vectorizer = cls(**{**own, "char_ngrams": tuple(options["char_ngrams"]), "encoder": encoder})
        vectorizer._begin()
        vectorizer.buckets_, vectorizer.idf_ = arrays["buckets"], arrays["idf"]
        vectorizer.unknown_idf_ = options["unknown_idf"]
        vectorizer._meaning = None
        if encoder is not None:
            vectorizer._meaning = Meaning.from_state(
                encoder, vectorizer._normalizer, vectorizer.encoder_weight, options["meaning"], arrays
            )
        vectorizer._prepare()
        return vectorizer
