"""What identity's own mails say, in the languages there are. Pure."""

from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlencode

LetterKind = Literal["verify", "known"]

_VERIFY = {
    "en": (
        "Confirm your e-mail address",
        """Welcome!

Somebody, we hope you, asked for an account with this e-mail address. Open this
link within 24 hours to confirm that the address is yours:

{link}

Opening it makes the account, with the password that was chosen when it was asked
for. Did somebody else ask, or choose that password? Then do not open the link:
without it there is no account. You can sign up yourself at any time here:

{anew}
""",
    ),
    "de": (
        "Bestätigen Sie Ihre E-Mail-Adresse",
        """Willkommen!

Jemand, hoffentlich Sie, möchte ein Konto mit dieser E-Mail-Adresse. Öffnen Sie
innerhalb von 24 Stunden diesen Link, um die Adresse zu bestätigen:

{link}

Damit entsteht das Konto, mit dem Passwort, das bei der Anmeldung gewählt wurde.
Hat sich jemand anders angemeldet oder dieses Passwort gewählt? Dann öffnen Sie
den Link nicht: Ohne ihn entsteht kein Konto. Selbst anmelden können Sie sich
jederzeit hier:

{anew}
""",
    ),
}
_KNOWN = {
    "en": (
        "You already have an account",
        """Hello,

somebody, perhaps you, asked for an account with this e-mail address. There is
one already, and nothing was changed. Sign in here:

{link}

If it was not you, there is nothing to do.
""",
    ),
    "de": (
        "Sie haben schon ein Konto",
        """Guten Tag,

jemand, vielleicht Sie, möchte ein Konto mit dieser E-Mail-Adresse. Es gibt schon
eines, und nichts wurde geändert. Hier melden Sie sich an:

{link}

Waren Sie es nicht, dann müssen Sie nichts tun.
""",
    ),
}
LANGUAGES = tuple(_VERIFY)
"""What mail can be written in; anything else is written in the first one."""


@dataclass(frozen=True, slots=True)
class Written:
    """A mail's subject and text."""

    subject: str
    text: str


def spoken(language: str) -> str:
    """Return the language to write in to somebody who wants this one (BCP 47)."""
    primary = language.partition("-")[0]
    return primary if primary in LANGUAGES else LANGUAGES[0]


def written(kind: LetterKind, language: str, public_url: str, token: str = "") -> Written:
    """Return a mail; links lead to `public_url`, with the token of a verification.

    Nothing in it was typed by whoever asked: nobody can send their words through us.
    """
    base = public_url.rstrip("/")
    # A fragment stays in the browser: the token gets into no log on its way.
    link = f"{base}/verify#{urlencode({'token': token})}" if kind == "verify" else f"{base}/sign-in"
    subject, text = (_VERIFY if kind == "verify" else _KNOWN)[spoken(language)]
    return Written(subject, text.format(link=link, anew=f"{base}/sign-up"))
