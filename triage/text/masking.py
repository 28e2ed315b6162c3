"""Personal data: found by shape and check digit, and replaced by placeholders.

Masked in every language: e-mail (``[EMAIL]``), user and password in a link (``[URL-CREDENTIALS]``), IBAN
(``[IBAN]``, ISO 13616 check), payment card (``[CARD]``, Luhn check) and telephone in international form
(``[PHONE]``). A language's data adds its telephone numbers and, by check digit or by a word before them,
identity documents (``[ID]``), tax numbers (``[TAX]``) and bank accounts (``[BANK]``).

Left as they are: names and addresses of people, which no pattern finds, and what belongs to nobody in
person: citations, dates, amounts, plots, and service numbers such as 1900 xxxx.

Every rule starts once in a run of characters or looks a bounded way ahead, so time is linear. Masking twice
changes nothing more: no rule matches a bracket; the length of a value that must pass a check never depends
on what follows; and what a rule asks of the characters around a value stays so when its neighbours are masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from triage.text.languages import load_language
from triage.text.span import Span, fold_with_offsets

_IBAN_LENGTHS = (  # SWIFT IBAN registry: country and characters
    "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
    "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
    "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
    "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
)
_GAP = r"[^0-9\n\[\]]{0,40}?"  # between "tax number" and the number: "is", "of our company:"


def _passes_luhn(value: str) -> bool:
    # Check a card number (ISO/IEC 7812-1, annex B).
    digits = [int(digit) for digit in reversed(re.sub(r"[^0-9]", "", value))]
    return sum(digits[0::2]) % 10 == -sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2]) % 10


def _passes_mod97(value: str) -> bool:
    # Check an account number (ISO 13616-1, by ISO/IEC 7064 MOD 97-10).
    compact = value.replace(" ", "")
    return int("".join(str(int(char, 36)) for char in compact[4:] + compact[:4])) % 97 == 1


@dataclass(frozen=True)
class _WeightedCheck:
    """Last digit of the leading digits: ``minus_from`` less the weighted sum modulo ``modulus``."""

    weights: tuple[int, ...]
    modulus: int
    minus_from: int

    def __call__(self, value: str) -> bool:
        total = sum(weight * int(digit) for weight, digit in zip(self.weights, value, strict=False))
        return self.minus_from - total % self.modulus == int(value[len(self.weights)])


@dataclass(frozen=True)
class _Rule:
    """What to look for in folded text; group ``value`` is replaced when it passes the check."""

    label: str
    pattern: re.Pattern[str]
    check: Callable[[str], bool] | None = None

    def find(self, folded: str) -> Iterator[tuple[int, int]]:
        """Find the values; after a failed check, look on from the next character.

        Yields
        ------
        tuple of int
            Start and end in the folded text, in order.
        """
        match = self.pattern.search(folded)
        while match:
            start, end = match.span("value")
            passed = self.check is None or self.check(match["value"])
            if passed:
                yield start, end
            match = self.pattern.search(folded, end if passed else start + 1)


def _general_rules() -> list[_Rule]:
    # Rules for every language, first come first served.
    number = r"(?<![0-9])(?P<value>{})(?![0-9])"
    lengths = ((entry[:2].lower(), int(entry[2:]) - 4) for entry in _IBAN_LENGTHS.split())
    iban = "|".join(f"{country}[0-9]{{2}}(?: ?[0-9a-z]){{{length}}}" for country, length in lengths)
    issuer = "(?:[3-69][0-9]|2[2-7])"  # leaves out years
    card_shapes = [f"{issuer}[0-9]{{11,17}}"]
    card_shapes += [
        issuer + "[0-9]{2}" + "".join(f"[ -][0-9]{{{n}}}" for n in rest) for rest in ((4, 4, 4, 3), (4, 4, 4), (6, 5))
    ]
    email = r"(?<![\w.%+-])(?P<value>[\w.%+-]++@[\w-]++(?:\.[\w-]++)++(?:\.*+[\w%+@-][\w.%+@-]*+)?)"
    abroad = r"(?P<value>\+(?![0-9]{1,3}(?:\.[0-9]{3})++(?![0-9.]))[1-9](?:[ .()-]{0,2}[0-9]){7,14})(?![0-9])"
    return [
        _Rule("URL-CREDENTIALS", re.compile(r"://(?P<value>[^\s/@:\[\]]++:[^\s/@\[\]]++)@")),
        _Rule("EMAIL", re.compile(email)),
        _Rule("IBAN", re.compile(f"(?P<value>{iban})"), _passes_mod97),
        *(_Rule("CARD", re.compile(number.format(shape)), _passes_luhn) for shape in card_shapes),
        _Rule("PHONE", re.compile(abroad)),
    ]


def _language_rule(data: dict[str, Any]) -> _Rule:
    # Compile one rule of a language's data.
    pattern = rf"(?:(?<![0-9])|(?![0-9]))(?P<value>{data['pattern']})(?![0-9])"
    if "before" in data:
        words = "|".join(re.escape(fold_with_offsets(word)[0]) for word in data["before"])
        pattern = rf"(?<![\w\[\]])(?:{words})(?![a-z]){_GAP}{pattern}"
    check = data.get("check")
    weighted = _WeightedCheck(tuple(check["weights"]), check["modulus"], check["minus_from"]) if check else None
    return _Rule(data["label"], re.compile(pattern), weighted)


@cache
def _rules(language: str | None) -> tuple[_Rule, ...]:
    # Return the rules in order: what a word announces, what every language has, what shape tells.
    own = load_language(language).get("personal_data", {}).get("rules", [])
    announced = [_language_rule(rule) for rule in own if "before" in rule]
    shaped = [_language_rule(rule) for rule in own if "before" not in rule]
    general = _general_rules()
    return (*general[:2], *announced, *general[2:-1], *shaped, general[-1])


def personal_data_spans(text: str, language: str | None = None) -> list[Span]:
    """Find personal data.

    Parameters
    ----------
    text : str
        Any string.
    language : str or None, default=None
        Code of the language whose numbers are known too; None for the international ones alone.

    Returns
    -------
    list of Span
        In order and without overlap; the label is the placeholder without brackets.

    Notes
    -----
    Time is linear in the length of the text.

    Examples
    --------
    >>> personal_data_spans("hoa@example.com")
    [Span(start=0, end=15, label='EMAIL')]
    """
    folded, offsets = fold_with_offsets(text)
    spans = []
    for rule in _rules(language):
        found = list(rule.find(folded))
        pieces, last = [], 0
        for start, end in found:
            spans.append(Span(offsets[start], offsets[end], rule.label))
            pieces += [folded[last:start], "[" * (end - start)]  # so that no later rule reads it
            last = end
        folded = "".join([*pieces, folded[last:]])
    return sorted(spans, key=lambda span: span.start)


def mask_personal_data(text: str, *, language: str | None = None) -> str:
    """Replace personal data by placeholders such as ``[PHONE]``.

    Parameters
    ----------
    text : str
        Any string.
    language : str or None, default=None
        As in `personal_data_spans`.

    Returns
    -------
    str
        The text with placeholders; masking it again changes nothing.

    Examples
    --------
    >>> mask_personal_data("Gọi 0912.345.678, MST 0101243150, theo NĐ 139/2025/NĐ-CP", language="vi")
    'Gọi [PHONE], MST [TAX], theo NĐ 139/2025/NĐ-CP'
    """
    pieces, last = [], 0
    for span in personal_data_spans(text, language):
        pieces += [text[last : span.start], f"[{span.label}]"]
        last = span.end
    return "".join([*pieces, text[last:]])
