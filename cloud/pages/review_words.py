"""The words of staff's review of returns, in the languages there are. Pure."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from cloud.pages.ride_words import Words

_WORDS: Mapping[str, tuple[str, str]] = {
    "reviews": ("Returns to review", "Rückgaben zur Prüfung"),
    "reviews_lead": (
        "Nobody could judge these. The oldest is first; looking at one charges nobody anything.",
        "Diese konnte niemand beurteilen. Die älteste steht oben; eine Prüfung kostet nichts.",
    ),
    "reviews_none": ("Nothing waits for a person.", "Nichts wartet auf einen Menschen."),
    "why": ("Why", "Warum"),
    "left": ("{time} left", "noch {time}"),
    "late": ("late by {time}", "seit {time} überfällig"),
    "hours": ("{n} h", "{n} Std."),
    "minutes": ("{n} min", "{n} Min."),
    "asked_until": ("a photo is asked for until {when}", "Foto erbeten bis {when}"),
    "review_of": ("Return of {vehicle}", "Rückgabe von {vehicle}"),
    "no_review": ("There is no such return to review", "Diese Rückgabe gibt es hier nicht"),
    "no_review_lead": (
        "Nobody had to look at it, or it is another city's.",
        "Niemand musste sie prüfen, oder sie gehört zu einer anderen Stadt.",
    ),
    "photos": ("Photos", "Fotos"),
    "photo_n": ("Photo {n} of the parked vehicle", "Foto {n} des abgestellten Fahrzeugs"),
    "photo_gone": ("This photo is no longer kept.", "Dieses Foto wird nicht mehr aufbewahrt."),
    "photos_none": ("The rider sent none.", "Es kam keines."),
    "received": ("received {when}", "angekommen {when}"),
    "place": ("Where it stands", "Wo es steht"),
    "place_drawn": (
        "The vehicle, the circle of its accuracy of {accuracy} m, and {outline}",
        "Das Fahrzeug, der Kreis seiner Genauigkeit von {accuracy} m, und {outline}",
    ),
    "outline_bay": ("the bay {name}", "die Parkfläche {name}"),
    "outline_zone": ("the zone {name}", "die Zone {name}"),
    "outline_none": ("no bay or zone", "keine Parkfläche oder Zone"),
    "place_unknown": ("Nobody knows where it stands.", "Niemand weiß, wo es steht."),
    "by_vehicle": ("as the vehicle says", "laut Fahrzeug"),
    "by_phone": ("as the rider's phone says", "laut Telefon"),
    "facts": ("What was decided, and why not", "Was entschieden wurde, und warum nicht"),
    "verifier": ("Verifier", "Prüfer"),
    "confidence": ("confidence {percent} %", "Sicherheit {percent} %"),
    "by_rules": ("by rules", "nach Regeln"),
    "ended": ("Meter stopped", "Uhr gestoppt"),
    "answer": ("Place", "Ort"),
    "fee": ("Fee that was accepted", "Zugesagte Gebühr"),
    "rental": ("Rental", "Miete"),
    "open_rental": ("Timeline and money", "Ablauf und Geld"),
    "earlier": ("Decided before", "Bisher entschieden"),
    "state_pending": ("waits for a person", "wartet auf einen Menschen"),
    "state_accepted": ("accepted", "angenommen"),
    "state_rejected": ("rejected", "abgelehnt"),
    "state_photo_needed": ("waits for a photo", "wartet auf ein Foto"),
    "decide": ("Decide", "Entscheiden"),
    "reason": ("Reason", "Grund"),
    "reason_hint": (
        "The rider reads it, unless the return is good.",
        "Wer gefahren ist, liest ihn, außer wenn die Rückgabe gut ist.",
    ),
    "choice_approve": ("Approve", "Annehmen"),
    "choice_reject": ("Reject", "Ablehnen"),
    "choice_ask": ("Ask for a photo", "Um ein Foto bitten"),
    "no_charge": ("Rejecting charges nothing.", "Ablehnen kostet nichts."),
    "keys": (
        "A, R and P choose, Enter in the reason sends, Esc goes back to the list.",
        "A, R und P wählen, Enter im Grund schickt ab, Esc führt zur Liste.",
    ),
    "choose_first": ("Choose approve, reject or ask.", "Bitte erst wählen, was geschehen soll."),
    "reason_short": (
        "Say why, in at least three characters.",
        "Bitte einen Grund mit mindestens drei Zeichen angeben.",
    ),
}

_DOUBTS: Mapping[str, tuple[str, str]] = {
    "no_photo": ("no photo came", "es kam kein Foto"),
    "position_unknown": ("nobody knows where it is", "niemand weiß, wo es steht"),
    "position_uncertain": ("its place is known too badly", "sein Ort ist zu ungenau"),
    "nowhere_to_go": ("there was no free bay near", "in der Nähe war keine Parkfläche frei"),
    "no_place": ("no place was free in the bay", "in der Parkfläche war kein Platz"),
    "verifier_down": ("the verifier did not answer", "der Prüfer antwortete nicht"),
    "photo_sent_again": ("the photo that was asked for came", "das erbetene Foto ist da"),
    "inside": ("inside a bay", "in einer Parkfläche"),
    "free_floating": ("where it may be left anywhere", "wo es überall stehen darf"),
    "full": ("a full bay", "eine volle Parkfläche"),
    "outside": ("outside a bay", "außerhalb einer Parkfläche"),
    "no_parking": ("where parking is not allowed", "wo Parken verboten ist"),
    "unknown": ("unknown", "unbekannt"),
}


class ReviewWords(Words):
    """The words of one language, those of the customer's pages included."""

    def __call__(self, key: str, /, **values: object) -> str:
        """Return a word; raises KeyError for one that is not there."""
        found = _WORDS.get(key)
        if found is None:
            return super().__call__(key, **values)
        return found[self._column].format(**values)

    def doubt(self, told: str) -> str:
        """Return why nobody could tell, or what a place is; a word nobody translated as it is."""
        found = _DOUBTS.get(told)
        if found is not None:
            return found[self._column]
        try:
            return super().__call__(f"fault_{told}")
        except KeyError:
            return told.replace("_", " ")

    def when(self, moment: datetime) -> str:
        """Return a time with its zone."""
        return f"{self.day(moment)} {moment.tzname() or ''}".rstrip()

    def time_left(self, until: datetime, now: datetime) -> str:
        """Return how long there is until a deadline, or how late it is."""
        key = "left" if until >= now else "late"
        return self(key, time=self._length(abs(until - now)))

    def _length(self, length: timedelta) -> str:
        hours = int(length.total_seconds() // 3600)
        if hours:
            return self("hours", n=hours)
        return self("minutes", n=int(length.total_seconds() // 60))
