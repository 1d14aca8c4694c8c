"""The words of the customer's pages in the languages there are. Pure.

A word is asked for by its key; placeholders are those of `str.format`.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cloud.booking.api import Quote
from cloud.kit.money import Money
from cloud.pages.account_words import ACCOUNT
from cloud.pages.problem_words import PROBLEMS, REASONS
from cloud.payments.api import SYMBOLS, ReceiptText, to_decimal

LANGUAGES = ("en", "de")
"""What the pages speak; anything else is answered in the first one."""
WALK_M_PER_S = 1.3
DETOUR = 1.3
"""Streets are longer than the straight line, by about so much."""

_WORDS: Mapping[str, tuple[str, str]] = {
    **ACCOUNT,
    "skip": ("Skip to content", "Zum Inhalt"),
    "to_start": ("To the start", "Zum Anfang"),
    "no_page": ("There is no such page", "Diese Seite gibt es nicht"),
    "no_page_lead": (
        "The address may be mistyped, or the page has moved.",
        "Die Adresse ist vielleicht vertippt, oder die Seite ist umgezogen.",
    ),
    "not_here": ("This does not work here", "Das geht hier nicht"),
    "staff_only": (
        "This page is for the people who run the vehicles. Your rides are elsewhere.",
        "Diese Seite ist für das Team, das die Fahrzeuge betreibt. Ihre Fahrten sind woanders.",
    ),
    "main_nav": ("Main", "Hauptmenü"),
    "nav_map": ("Find", "Finden"),
    "nav_rides": ("Rides", "Fahrten"),
    "nav_card": ("Payment", "Zahlung"),
    "language": ("Language", "Sprache"),
    "sign_out": ("Sign out", "Abmelden"),
    "sign_in": ("Sign in", "Anmelden"),
    "no_answer": (
        "The cloud did not answer. Look at your network and try again.",
        "Die Cloud antwortet nicht. Prüfen Sie Ihr Netz und versuchen Sie es noch einmal.",
    ),
    "wait": ("One moment…", "Einen Moment…"),
    # ---- payment
    "card": ("Payment", "Zahlung"),
    "cards_none": (
        "No card yet. Add one to ride.",
        "Noch keine Karte. Zum Fahren eine hinzufügen.",
    ),
    "card_line": ("{brand} ending in {last4}", "{brand}, endet auf {last4}"),
    "card_default": ("pays your rides", "zahlt Ihre Fahrten"),
    "card_remove": ("Remove", "Entfernen"),
    "card_add": ("Add a card", "Karte hinzufügen"),
    "card_sandbox": (
        "This cloud pays with a sandbox: no real card, no real money. Choose how it behaves.",
        (
            "Diese Cloud zahlt im Sandkasten: keine echte Karte, kein echtes Geld. Wählen Sie, wie "
            "die Karte sich verhält."
        ),
    ),
    "card_behaves": ("Test card", "Testkarte"),
    "tok_ok": ("pays", "zahlt"),
    "tok_declined": ("is declined", "wird abgelehnt"),
    "tok_insufficient": ("has no funds", "ist nicht gedeckt"),
    "tok_no_top_up": ("pays once and no more", "zahlt einmal und nicht mehr"),
    "card_no_provider": (
        "No payment provider is set up here, so nobody can ride yet.",
        "Hier ist kein Zahlungsanbieter eingerichtet, deshalb kann noch niemand fahren.",
    ),
    # ---- find
    "find": ("Find a vehicle", "Fahrzeug finden"),
    "map": ("Map", "Karte"),
    "map_label": (
        "Free vehicles and bays, also in the list. Arrow keys move it, plus and minus zoom.",
        "Freie Fahrzeuge und Parkflächen, auch als Liste. Pfeiltasten, Plus und Minus bewegen.",
    ),
    "zoom_in": ("Zoom in", "Näher"),
    "zoom_out": ("Zoom out", "Weiter weg"),
    "locate": ("Use my position", "Mein Standort"),
    "locate_failed": (
        "Your position is not known. Allow it in the browser, or move the map.",
        (
            "Ihr Standort ist nicht bekannt. Erlauben Sie ihn im Browser oder verschieben Sie die "
            "Karte."
        ),
    ),
    "around_you": ("around you", "in Ihrer Nähe"),
    "search_here": ("Search here", "Hier suchen"),
    "free": ("Free vehicles", "Freie Fahrzeuge"),
    "free_none": (
        "No vehicle is free within {radius_m} m. Move the map and search there.",
        (
            "Im Umkreis von {radius_m} m ist nichts frei. Verschieben Sie die Karte und suchen Sie "
            "dort."
        ),
    ),
    "walk": ("about {minutes} min walk", "etwa {minutes} Min zu Fuß"),
    "walk_short": ("{minutes} min walk", "{minutes} Min zu Fuß"),
    "walk_from": (
        "Walking times are estimates: the straight line and 30 %, at 1.3 m/s.",
        "Gehzeiten sind geschätzt: Luftlinie und 30 %, mit 1,3 m/s.",
    ),
    "charge": ("{percent} % charge", "{percent} % geladen"),
    "range": ("about {km} km", "etwa {km} km"),
    "charge_unknown": ("charge unknown", "Ladung unbekannt"),
    "per_min_short": ("{price}/min", "{price}/Min"),
    "ten_min_short": ("≈ {price}/10 min", "≈ {price}/10 Min"),
    "price_about": (
        "{unlock} to unlock; about {for_10_min} for 10 min, unlocking included",
        "{unlock} Entsperren; etwa {for_10_min} für 10 Min, mit Entsperren",
    ),
    "price_full": (
        "{unlock} to unlock, then {per_minute} a minute",
        "{unlock} Entsperren, dann {per_minute} je Minute",
    ),
    "price_none": ("no price", "kein Preis"),
    "hold": ("Hold for 15 minutes", "15 Minuten reservieren"),
    "bays": ("Bays near by", "Parkflächen in der Nähe"),
    "bay_free": ("{free} of {capacity} places free", "{free} von {capacity} Plätzen frei"),
    "you_hold": ("You hold a vehicle.", "Sie haben ein Fahrzeug reserviert."),
    "to_hold": ("Go to it", "Dorthin"),
    "you_ride": ("You have a ride.", "Sie haben eine Fahrt."),
    "to_ride": ("Go to your ride", "Zur Fahrt"),
    "add_card_first": (
        "Add a card before you ride.",
        "Fügen Sie vor der Fahrt eine Karte hinzu.",
    ),
    # ---- hold
    "held": ("{name} is yours", "{name} gehört Ihnen"),
    "held_until": ("Held for", "Reserviert noch"),
    "held_over": (
        "The hold has ended",
        "Die Reservierung ist abgelaufen",
    ),
    "held_over_lead": (
        "{name} is free for everybody again. It cost nothing. Hold it or another one anew.",
        "{name} ist wieder für alle frei. Es hat nichts gekostet. Reservieren Sie noch einmal.",
    ),
    "unlock": ("Unlock", "Entsperren"),
    "unlock_lead": (
        "{hold} are held on your card while you ride; you pay what it comes to.",
        "Während der Fahrt sind {hold} auf Ihrer Karte vorgemerkt; Sie zahlen, was es kostet.",
    ),
    "let_go": ("Let it go", "Freigeben"),
    # ---- ride
    "ride_of": ("Ride with {name}", "Fahrt mit {name}"),
    "unlocking": ("Unlocking", "Wird entsperrt"),
    "step_money": ("Money is held on the card", "Der Betrag ist vorgemerkt"),
    "step_asked": ("The vehicle is asked to unlock", "Das Fahrzeug soll entsperren"),
    "step_open": ("The vehicle is unlocked", "Das Fahrzeug ist entsperrt"),
    "step_done": ("done", "erledigt"),
    "step_now": ("in progress", "läuft"),
    "step_later": ("to come", "folgt"),
    "call_off": ("Cancel, free of charge", "Kostenlos abbrechen"),
    "offline_wait": (
        (
            "The vehicle has no connection just now. It unlocks as soon as it hears us, else "
            "nothing is charged."
        ),
        (
            "Das Fahrzeug hat gerade keine Verbindung. Es entsperrt, sobald es uns hört, sonst "
            "kostet es nichts."
        ),
    ),
    "lost_net": (
        "No connection. The ride and its meter go on; this is how it stood at {at}.",
        "Keine Verbindung. Fahrt und Zähler laufen weiter; so stand es um {at}.",
    ),
    "declined_next": (
        "Add another card, or ask your bank. Then hold the vehicle again.",
        "Fügen Sie eine andere Karte hinzu, oder fragen Sie Ihre Bank. Reservieren Sie dann neu.",
    ),
    "other_card": ("Add another card", "Andere Karte hinzufügen"),
    "card_short": (
        "Your card allows no more. Ride on and return soon: after a pause it stays locked.",
        "Ihre Karte erlaubt nicht mehr. Geben Sie bald zurück: nach einer Pause bleibt es zu.",
    ),
    "card_short_paused": (
        "Your card allows no more. Add another card, then ride on with it, or end the ride.",
        (
            "Ihre Karte erlaubt nicht mehr. Fügen Sie eine andere hinzu und fahren Sie damit"
            " weiter, oder beenden Sie die Fahrt."
        ),
    ),
    "pause_failed": (
        (
            "The vehicle did not lock, so the ride goes on. Let it stand still and try again, or"
            " end the ride."
        ),
        (
            "Das Fahrzeug hat nicht abgeschlossen, die Fahrt läuft weiter. Bitte im Stand noch"
            " einmal versuchen oder die Fahrt beenden."
        ),
    ),
    "end_failed": (
        "The vehicle was still moving, so the ride goes on. Stop first, then end it.",
        "Das Fahrzeug fuhr noch, die Fahrt läuft weiter. Bitte erst anhalten, dann beenden.",
    ),
    "resume_failed": (
        "The vehicle did not unlock, so it stays paused. Try again, or end the ride.",
        (
            "Das Fahrzeug hat nicht geöffnet, die Pause läuft weiter. Bitte noch einmal versuchen"
            " oder die Fahrt beenden."
        ),
    ),
    "riding": ("Riding", "Unterwegs"),
    "pausing": ("Locking for a pause", "Wird für die Pause gesperrt"),
    "paused": ("Paused", "Pause"),
    "resuming": ("Unlocking again", "Wird wieder entsperrt"),
    "time": ("Time", "Zeit"),
    "so_far": ("So far, with tax", "Bisher, mit Steuer"),
    "pause": ("Pause", "Pause machen"),
    "resume": ("Go on", "Weiterfahren"),
    "pause_price": ("{price} a minute", "{price} je Minute"),
    "return": ("Return the vehicle", "Fahrzeug zurückgeben"),
    "can_end": ("Can I end here?", "Kann ich hier beenden?"),
    "can_end_yes": ("Yes: you are in {bay}.", "Ja: Sie sind in {bay}."),
    "can_end_yes_free": ("Yes, the ride may end here.", "Ja, die Fahrt darf hier enden."),
    "can_end_full": ("{bay} is full.", "{bay} ist voll."),
    "can_end_no": ("Not here without a fee: {price}.", "Hier nur gegen Gebühr: {price}."),
    "can_end_review": (
        "Yes, but a person will look at it; that costs nothing.",
        "Ja, aber ein Mensch sieht es sich an; das kostet nichts.",
    ),
    "bay_full_kept": (
        (
            "This bay is full. A place is kept for you in {bay}, {distance_m} m away: end there "
            "within {minutes} minutes, the way is not billed."
        ),
        (
            "Diese Fläche ist voll. In {bay}, {distance_m} m von hier, ist ein Platz für Sie frei: "
            "Beenden Sie dort binnen {minutes} Minuten, der Weg kostet nichts."
        ),
    ),
    "needs_photo": ("A photo is still needed.", "Es fehlt noch ein Foto."),
    "nearest": (
        "Nearest free bay: {bay}, {distance_m} m",
        "Nächste freie Fläche: {bay}, {distance_m} m",
    ),
    "photo": ("Photo of the parked vehicle", "Foto des geparkten Fahrzeugs"),
    "photo_hint": (
        "The whole vehicle, from two steps away. JPEG, PNG or WebP, at most 8 MB.",
        "Das ganze Fahrzeug, aus zwei Schritten Abstand. JPEG, PNG oder WebP, höchstens 8 MB.",
    ),
    "photo_sent": ("The photo has arrived.", "Das Foto ist da."),
    "photo_faults": ("Please take another photo: {faults}.", "Bitte noch ein Foto: {faults}."),
    "fault_small": ("it is too small", "es ist zu klein"),
    "fault_dark": ("it is too dark", "es ist zu dunkel"),
    "fault_blurred": ("it is blurred", "es ist unscharf"),
    "fault_old": ("it is too old", "es ist zu alt"),
    "fault_screenshot": ("it is a screenshot", "es ist ein Bildschirmfoto"),
    "fault_seen_before": ("we know it already", "wir kennen es schon"),
    "fault_elsewhere": ("it is of another place", "es zeigt einen anderen Ort"),
    "return_pending": (
        "A person looks at the return. Nothing more is charged.",
        "Ein Mensch sieht sich die Rückgabe an. Es kommt nichts mehr dazu.",
    ),
    "photo_asked": (
        "Somebody looked at the return and asks for one more photo: {note}",
        "Jemand hat sich die Rückgabe angesehen und bittet um ein weiteres Foto: {note}",
    ),
    "return_rejected": (
        "Somebody looked at the return, and it is not good: {note}. Nothing is charged for it.",
        "Jemand hat sich die Rückgabe angesehen, sie ist nicht gut: {note}. Es kostet nichts.",
    ),
    "end": ("End the ride", "Fahrt beenden"),
    "end_fee": ("End here for {price}", "Hier beenden für {price}"),
    "end_move": ("I move it", "Ich stelle es um"),
    "move_or_accept": (
        "You are outside a bay. Move the vehicle, or end here for {price}.",
        "Sie sind nicht in einer Parkfläche. Stellen Sie um, oder beenden Sie hier für {price}.",
    ),
    "ending": ("Ending", "Wird beendet"),
    "ending_lead": (
        "The meter has stopped. The vehicle is being locked.",
        "Die Uhr steht. Das Fahrzeug wird gesperrt.",
    ),
    "locked_lead": (
        "The meter has stopped and the vehicle is locked. Nothing more is charged.",
        "Die Uhr steht, und das Fahrzeug ist gesperrt. Es kommt nichts mehr dazu.",
    ),
    "ended": ("The ride is over", "Die Fahrt ist zu Ende"),
    "cancelled": ("The ride did not begin", "Die Fahrt hat nicht begonnen"),
    "cancelled_lead": ("Nothing is charged.", "Es kostet nichts."),
    "agreed_fee": ("Of this, the agreed fee", "Davon vereinbarte Gebühr"),
    "total": ("Total, with tax", "Summe, mit Steuer"),
    "receipt": ("Receipt", "Beleg"),
    "to_receipt": ("See the receipt", "Beleg ansehen"),
    "receipt_pdf": ("Receipt as PDF", "Beleg als PDF"),
    "receipt_none": (
        "There is no receipt yet. It comes as soon as the ride is over and paid for.",
        "Es gibt noch keinen Beleg. Er kommt, sobald die Fahrt beendet und bezahlt ist.",
    ),
    "back_to_ride": ("Back to the ride", "Zurück zur Fahrt"),
    "rides": ("Your rides", "Ihre Fahrten"),
    "rides_none": ("No ride yet.", "Noch keine Fahrt."),
    "state_under_way": ("under way", "unterwegs"),
    "state_ended": ("over", "beendet"),
    "state_cancelled": ("not begun", "nicht begonnen"),
}


def chosen(*wishes: str | None) -> str:
    """Return the first language we speak of what is wished (BCP 47), else the first we have."""
    for wish in wishes:
        primary = (wish or "").partition("-")[0].lower()
        if primary in LANGUAGES:
            return primary
    return LANGUAGES[0]


def accepted(header: str) -> str | None:
    """Return the language of ours that an Accept-Language header likes best; None for neither.

    >>> accepted("fr;q=0.9, de-AT;q=0.8, en;q=0.7")
    'de'
    """
    likes: list[tuple[float, int, str]] = []
    for place, part in enumerate(header.split(",")):
        name, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        likes.append((-weight, place, name.partition("-")[0].lower()))
    return next((name for _, _, name in sorted(likes) if name in LANGUAGES), None)


class Words:
    """The words of one language; templates know it as `t`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._column = LANGUAGES.index(language)

    def __call__(self, key: str, /, **values: object) -> str:
        """Return a word; raises KeyError for one that is not there."""
        return _WORDS[key][self._column].format(**values)

    def kind(self, vehicle_type: str) -> str:
        """Return what a type of vehicle is called."""
        return ReceiptText(self.language).kind(vehicle_type)

    def money(self, amount: Money | Mapping[str, Any]) -> str:
        """Return an amount as people write it: `€2.50`, `2,50 €`."""
        if not isinstance(amount, Money):
            amount = Money(amount["amount_minor"], amount["currency"])
        if self.language == "de":
            told = {"amount_minor": amount.amount_minor, "currency": amount.currency}
            return ReceiptText(self.language).money(told)
        digits = f"{to_decimal(amount):f}"
        symbol = SYMBOLS.get(amount.currency)
        sign, digits = ("-", digits[1:]) if digits.startswith("-") else ("", digits)
        return f"{sign}{symbol}{digits}" if symbol else f"{amount.currency} {sign}{digits}"

    def price(self, quote: Quote) -> str:
        """Return what riding costs; by the minute only where every minute costs the same."""
        if quote.is_flat:
            return self(
                "price_full",
                unlock=self.money(quote.unlock),
                per_minute=self.money(quote.per_minute),
            )
        return self(
            "price_about",
            unlock=self.money(quote.unlock),
            for_10_min=self.money(quote.for_10_min),
        )

    def price_short(self, quote: Quote) -> str:
        """Return what riding costs, for a pin."""
        if quote.is_flat:
            return self("per_min_short", price=self.money(quote.per_minute))
        return self("ten_min_short", price=self.money(quote.for_10_min))

    def walk(self, distance_m: float) -> str:
        """Return how long one walks, as a whole estimate."""
        return self("walk", minutes=walk_minutes(distance_m))

    def day(self, moment: datetime) -> str:
        """Return a date and time in the zone it carries."""
        pattern = "%d.%m.%Y, %H:%M" if self.language == "de" else "%Y-%m-%d, %H:%M"
        return moment.strftime(pattern)

    def local(self, moment: datetime, zone: ZoneInfo) -> str:
        """Return a date and time in a zone, with its offset."""
        return ReceiptText(self.language).moment(
            moment.astimezone(zone).isoformat(timespec="seconds")
        )

    def reason(self, told: str) -> str:
        """Return why a rental came to nothing; words nobody translated are left out."""
        found = REASONS.get(told)
        return "" if found is None else found[self._column]

    def problems(self) -> dict[str, str]:
        """Return what to say of problems, by the last part of their type."""
        return {kind: texts[self._column] for kind, texts in PROBLEMS.items()}

    def script(self, *keys: str) -> dict[str, Any]:
        """Return words for a script, placeholders left in, and those of problems."""
        said: dict[str, Any] = {key: _WORDS[key][self._column] for key in keys}
        return said | {"no_answer": self("no_answer"), "problems": self.problems()}


def walk_minutes(distance_m: float) -> int:
    """Return minutes to walk a straight distance, at least one: an estimate."""
    return max(1, math.ceil(distance_m * DETOUR / WALK_M_PER_S / 60))
