"""A receipt as PDF."""

from collections.abc import Mapping
from datetime import datetime
from importlib.resources import files
from typing import Any

from cloud.payments.receipt_text import ReceiptText

_MARGIN_MM = 20
_LINE_MM = 6
_LABEL_MM = 70
_WIDTH_MM = 170
_TIMES = "\N{MULTIPLICATION SIGN}"


def pdf(receipt: Mapping[str, Any]) -> bytes:
    """Return what `receipt.receipt` made, as a PDF of one or more pages of A4.

    The same receipt is the same PDF, to the byte.
    """
    from fpdf import FPDF

    fonts = files("font_roboto") / "files"
    page = FPDF(format="A4")
    page.set_creation_date(datetime.fromisoformat(receipt["issued_at"]))
    page.set_margin(_MARGIN_MM)
    page.add_font("body", "", str(fonts / "Roboto-Regular.ttf"))
    page.add_font("body", "B", str(fonts / "Roboto-Bold.ttf"))
    page.add_page()
    paper = _Paper(page, ReceiptText(receipt["language"]))
    paper.page.set_title(f"{paper.words['invoice']} {receipt['number']}")
    paper.page.set_lang(receipt["language"])
    _head(paper, receipt)
    _lines(paper, receipt)
    _sums(paper, receipt)
    _foot(paper, receipt)
    return bytes(page.output())


class _Paper:
    """A page to write on from top to bottom."""

    def __init__(self, page: Any, text: ReceiptText) -> None:  # noqa: ANN401 - FPDF, lazily
        self.page = page
        self.say = text
        self.words = text.words

    def text(self, text: str, *, bold: bool = False, size: int = 10) -> None:
        self.page.set_font("body", "B" if bold else "", size)
        self.page.multi_cell(_WIDTH_MM, _LINE_MM, text, new_x="LMARGIN", new_y="NEXT")

    def pair(self, label: str, text: str, *, bold: bool = False) -> None:
        self.page.set_font("body", "B" if bold else "", 10)
        self.page.cell(_LABEL_MM, _LINE_MM, label)
        rest = _WIDTH_MM - _LABEL_MM
        self.page.multi_cell(rest, _LINE_MM, text, new_x="LMARGIN", new_y="NEXT")

    def amount(self, label: str, told: Mapping[str, Any], *, bold: bool = False) -> None:
        self.page.set_font("body", "B" if bold else "", 10)
        self.page.cell(_WIDTH_MM - 40, _LINE_MM, label)
        self.page.cell(40, _LINE_MM, self.say.money(told), align="R", new_x="LMARGIN", new_y="NEXT")

    def gap(self) -> None:
        self.page.ln(_LINE_MM / 2)


def _head(paper: _Paper, receipt: Mapping[str, Any]) -> None:
    say, told, seller = paper.say, paper.words, receipt["seller"]
    kind = say.kind(receipt["vehicle"]["type"])
    paper.text(seller["legal_name"], bold=True, size=14)
    paper.text(f"{seller['address']} · {told['vat_id']} {seller['vat_id']}")
    paper.gap()
    paper.text(f"{told['invoice']} {receipt['number']}", bold=True, size=12)
    paper.pair(told["issued"], say.moment(receipt["issued_at"]))
    paper.pair(told["customer"], receipt["customer"]["name"])
    paper.pair(told["vehicle"], f"{kind} {receipt['vehicle']['number']}")
    paper.pair(told["start"], _where(say, receipt["started_at"], receipt["start_place"]))
    paper.pair(told["end"], _where(say, receipt["ended_at"], receipt["end_place"]))
    paper.pair(told["minutes"], f"{receipt['ride_minutes']} / {receipt['pause_minutes']}")
    paper.pair(told["plan"], receipt["plan"]["name"])
    paper.gap()


def _lines(paper: _Paper, receipt: Mapping[str, Any]) -> None:
    say, told = paper.say, paper.words
    for line in receipt["lines"]:
        tax = f"{told['tax']} {say.percent(line['tax_rate_bp'])}"
        label = told[line["kind"]].format_map(line)
        paper.amount(f"{label} ({tax})", line["amount"])
        for part in line["parts"]:
            rate = say.money(part["rate"])
            paper.text(f"    {part['quantity']} {_TIMES} {rate} {_what(told, part)}")
        if line["reason"]:
            paper.text(f"    {say.phrase(line['reason'])} {line['link']}".rstrip())
    paper.text(told["with_tax" if receipt["prices_include_tax"] else "without_tax"], size=8)
    paper.gap()
    # Said also where it is nothing: what is not on a receipt could have been forgotten.
    paper.amount(told["unlock_fee"], receipt["unlock_fee"])
    paper.pair(told["pass_minutes"], str(receipt["pass_minutes"]))
    for name in ("discounts", "fees", "fines"):
        minor = sum(line["amount"]["amount_minor"] for line in receipt[name])
        paper.amount(told[name], receipt["total"] | {"amount_minor": minor})
    paper.gap()


def _sums(paper: _Paper, receipt: Mapping[str, Any]) -> None:
    say, told, payment = paper.say, paper.words, receipt["payment"]
    for tax in receipt["taxes"]:
        paper.amount(told["net"], tax["net"])
        paper.amount(f"{told['tax']} {say.percent(tax['rate_bp'])}", tax["tax"])
    paper.amount(told["total"], receipt["total"], bold=True)
    paper.gap()
    paper.pair(told["card"], f"•••• {payment['method_last4']}")
    for name in ("held", "paid", "released", "refunded", "open"):
        paper.amount(told[name], payment[name])
    for note in receipt["credit_notes"]:
        label = f"{told['credit_note']} {note['number']}, {say.moment(note['issued_at'])}"
        paper.amount(label, note["total"])
        paper.text(f"    {say.phrase(note['reason'])}")
    paper.gap()


def _foot(paper: _Paper, receipt: Mapping[str, Any]) -> None:
    told, dispute = paper.words, receipt["dispute"]
    until = paper.say.moment(dispute["until"])
    paper.text(f"{told['dispute'].format(until=until)} {dispute['url']}", size=8)
    paper.text(f"{told['terms']} {receipt['terms_version']}", size=8)


def _where(say: ReceiptText, moment: str, place: str) -> str:
    return f"{say.moment(moment)}, {say.phrase(place)}"


def _what(told: Mapping[str, str], part: Mapping[str, Any]) -> str:
    what = part["what"]
    if what in ("per_min", "per_km") and part["every"] == 0:
        what = what.replace("per", "once")
    return told[what].format_map(part)
