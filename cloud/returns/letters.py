"""What riders are written when a person asks for a photo, in the languages there are. Pure."""

from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from cloud.identity.api import Customer

_PHOTO_ASKED = {
    "en": (
        "Please send one more photo of your return",
        """Hello,

somebody of our staff has looked at how your ride ended and cannot tell whether it
ended well. Please send one more photo of the vehicle by {until}:

{link}

They wrote:

{reason}

Nothing more is charged, and you can send the photo from the ride's page.
""",
        "%d %b %Y, %H:%M (UTC%z)",
    ),
    "de": (
        "Bitte schicken Sie noch ein Foto Ihrer Rückgabe",
        """Guten Tag,

jemand von uns hat sich angesehen, wie Ihre Fahrt zu Ende ging, und kann nicht
sagen, ob alles in Ordnung ist. Bitte schicken Sie bis {until} noch ein
Foto des Fahrzeugs:

{link}

Die Nachricht dazu:

{reason}

Es wird nichts weiter berechnet. Das Foto schicken Sie auf der Seite der Fahrt.
""",
        "%d.%m.%Y, %H:%M (UTC%z)",
    ),
}


def photo_asked(
    rider: Customer, public_url: str, rental_id: UUID, reason: str, until: datetime
) -> tuple[str, str]:
    """Return subject and text of a mail that asks for a photo; times are in the rider's zone."""
    language = rider.language.partition("-")[0]
    subject, text, shape = _PHOTO_ASKED.get(language, _PHOTO_ASKED["en"])
    link = f"{public_url.rstrip('/')}/ride/rentals/{rental_id}"
    shown = until.astimezone(ZoneInfo(rider.time_zone)).strftime(shape)
    return subject, text.format(until=shown, link=link, reason=reason)
